"""Walking through a folder: order, links, names that no list can hold."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Dict, List

import pytest

from manifests.datasets.tree import walk


def files(root: Path) -> Dict[str, List[str]]:
    folders, problems = walk(root)
    assert problems == []
    return {folder.path: folder.names for folder in folders}


def fill(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")


def test_sorted_by_code_point_and_without_hidden_names(tmp_path: Path) -> None:
    fill(tmp_path, "b/2", "b/10", "b/é", "B/x", "a/deep/z", "a/y", ".hidden/x", "top", "b/.x")
    (tmp_path / "empty").mkdir()
    found = files(tmp_path)
    assert found == {"": ["top"], "B": ["x"], "a": ["y"], "a/deep": ["z"], "b": ["10", "2", "é"]}
    assert list(found) == ["", "B", "a", "a/deep", "b"]


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    root = tmp_path / "root"
    fill(tmp_path, "root/a/x", "elsewhere/y")
    (root / "b").symlink_to(tmp_path / "elsewhere")
    (root / "a" / "link").symlink_to("x")
    (root / "a" / "gone").symlink_to("nothing")
    (root / "a" / "up").symlink_to(root)
    (root / "self").symlink_to("self")
    folders, problems = walk(root)
    assert {folder.path: folder.names for folder in folders} == {
        "a": ["gone", "link", "x"],
        "b": ["y"],
    }
    assert problems == [
        f"{root}/self: cannot be read: Too many levels of symbolic links",
        f"{root}/a/up: is a link to a folder that it lies in",
    ]


def test_names_that_no_list_can_hold(tmp_path: Path) -> None:
    fill(tmp_path, "good", "two\nlines")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg")).write_text("")
    folders, problems = walk(tmp_path)
    assert [folder.names for folder in folders] == [["good"]]
    assert problems == [
        f"{tmp_path}/caf\\xe9.jpg: its name is not UTF-8",
        f"{tmp_path}/two\\nlines: its name has control characters",
    ]


def test_a_root_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        walk(tmp_path / "no")
