"""The digits set: made once, whole, the same each time, usable as it is."""

from __future__ import annotations

import builtins
import errno
from pathlib import Path
from typing import Any, Dict

import numpy as np
import pytest

from container.progress import Silent
from container.trouble import Trouble
from manifests.datasets import digits
from manifests.datasets.digits import make_digits
from manifests.datasets.inputs import read_images, read_lists


def contents(folder: Path) -> Dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits") / "set"
    make_digits(folder, progress=Silent())
    return folder


def test_it_is_a_usable_data_set(made: Path) -> None:
    lists = read_lists(
        train=made / "train.txt", train_root=made, val=made / "val.txt", val_root=made,
        mean=made / "mean.npy", nclasses=8,
    )  # fmt: skip
    assert lists.warnings == []
    assert set(lists.train.labels) == set(lists.val.labels) == set(range(8))
    share = len(lists.val.paths) / (len(lists.val.paths) + len(lists.train.paths))
    assert 0.19 < share < 0.21
    found = read_images(lists, train_root=made, val_root=made, cache_folder=None, progress=Silent())
    assert found.train.identity.samples == 1150
    assert not set(lists.train.paths) & set(lists.val.paths)
    mean = np.load(made / "mean.npy")
    # Strokes in the middle, background at the rim.
    assert mean[:, 100:156, 100:156].mean() > 3 * mean[:, :20, :20].mean()


def test_an_intact_set_is_left_alone(made: Path) -> None:
    before = contents(made)
    again = make_digits(made, progress=Silent())
    assert not again.made
    assert (again.train_samples, again.val_samples, again.nclasses) == (1150, 293, 8)
    assert contents(made) == before


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = digits._load_digits()
    monkeypatch.setattr(digits, "_load_digits", lambda: (images[:40], labels[:40]))


@pytest.mark.usefixtures("few")
def test_same_bytes_and_nothing_beside(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("a", "b"):
        assert make_digits(tmp_path / name, progress=Silent()).made
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


@pytest.mark.usefixtures("few")
def test_altered_set_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "a"
    made = make_digits(target, progress=Silent())
    image = target / made.train.read_text().split(" ")[0]
    image.write_bytes(b"x")
    made.val.unlink()
    with pytest.raises(Trouble) as caught:
        make_digits(target, progress=Silent())
    assert sorted(caught.value.problems) == [f"{image}: was altered", f"{made.val}: is missing"]
    assert caught.value.next_step == f"remove {target} and make the data set again"


def test_foreign_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(Trouble) as caught:
        make_digits(tmp_path, progress=Silent())
    assert str(caught.value) == (
        f"{tmp_path}: is not empty and holds no digits data set\n-> choose a new or empty folder"
    )
    with pytest.raises(Trouble) as caught:
        make_digits(tmp_path / "thesis.tex", progress=Silent())
    assert str(caught.value) == f"{tmp_path}/thesis.tex: is not a folder\n-> choose another folder"
    with pytest.raises(Trouble) as caught:
        make_digits(tmp_path / "thesis.tex" / "d", progress=Silent())
    assert str(caught.value) == (
        f"{tmp_path}/thesis.tex/d: cannot be made: Not a directory\n-> choose another folder"
    )
    assert contents(tmp_path) == {"thesis.tex": b"years of work"}


@pytest.mark.usefixtures("few")
def test_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(digits, "write_json", full)
    with pytest.raises(Trouble) as caught:
        make_digits(tmp_path / "d", progress=Silent())
    assert str(caught.value) == (
        f"{tmp_path}/d: cannot be written: No space left on device\n"
        "-> free some space or choose another folder"
    )
    assert list(tmp_path.iterdir()) == []


def test_without_scikit_learn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name.startswith("sklearn"):
            raise ImportError("No module named 'sklearn'")
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(Trouble) as caught:
        make_digits(tmp_path / "d", progress=Silent())
    assert str(caught.value) == (
        "the digits data set needs scikit-learn, which cannot be imported: "
        "No module named 'sklearn'\n-> install it from requirements/dev.txt, or run `make dev`"
    )
    assert list(tmp_path.iterdir()) == []
