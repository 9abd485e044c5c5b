"""A cache where there can be none is said, not taken for one that is empty."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from container.cache import cache_of
from container.trouble import Trouble

NEXT = "-> set BUNDLE_CACHE to a folder of yours, or unset it for ~/.cache/bundle"


def refusal(**environ: str) -> str:
    with pytest.raises(Trouble) as caught:
        cache_of({"HOME": "/home/ada", **environ})
    return str(caught.value)


@pytest.mark.parametrize("below", ["", "/images/x"])
def test_a_file(tmp_path: Path, below: str) -> None:
    file = tmp_path / "file"
    file.touch()
    text = refusal(BUNDLE_CACHE=f"{file}{below}")
    assert text == f"BUNDLE_CACHE: {file} is not a folder\n{NEXT}"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("below", ["", "/x"])
def test_a_link_to_nowhere(tmp_path: Path, below: str) -> None:
    link = tmp_path / "link"
    link.symlink_to("/scratch/of/another/machine")
    text = refusal(BUNDLE_CACHE=f"{link}{below}")
    assert text == f"BUNDLE_CACHE: {link} is a link to what does not exist\n{NEXT}"


@pytest.mark.parametrize("value", ["cache", "./cache", "~ada/cache", "$HOME/cache"])
def test_a_place_that_depends_on_the_folder(value: str) -> None:
    assert refusal(BUNDLE_CACHE=value) == (
        f"BUNDLE_CACHE: found {value!r}, expected the path of a folder, from / or ~/ on\n{NEXT}"
    )


def test_a_folder_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda _path, mode: not mode & os.R_OK)
    text = refusal(BUNDLE_CACHE=str(tmp_path))
    assert text == f"BUNDLE_CACHE: {tmp_path} cannot be read: Permission denied\n{NEXT}"


def test_a_cache_that_nobody_named(tmp_path: Path) -> None:
    (tmp_path / ".cache").touch()
    text = refusal(HOME=str(tmp_path))
    assert text == f"the cache: {tmp_path / '.cache'} is not a folder\n{NEXT}"
