"""What is said before long work and not after it: outputs that cannot be written, odd inputs."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Callable, List

import numpy as np
import pytest

from container.atomic import prepared
from container.progress import Silent
from container.trouble import Trouble
from manifests.datasets import mean_of_list
from manifests.datasets import pack as pack_module
from manifests.datasets.check import check
from manifests.datasets.classes import number_warnings
from manifests.datasets.inputs import read_lists
from manifests.datasets.make_list import list_tree
from manifests.datasets.mean import scan_mean
from manifests.datasets.mean_of_list import write_mean
from manifests.datasets.mini import choose
from manifests.datasets.pack import pack

SHAPE = (3, 256, 256)


def tree_of(folder: Path) -> List[Path]:
    return sorted(folder.rglob("*"))


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """The long part fails the test."""

    def work(*_: Any, **__: Any) -> Any:
        pytest.fail("the images are read")

    monkeypatch.setattr(mean_of_list, "spread", work)
    monkeypatch.setattr(pack_module, "_write_records", work)


def writers(folder: Path) -> List[Callable[[Path], Any]]:
    listing = folder / "train.txt"
    return [
        lambda output: write_mean(listing, folder, output, progress=Silent()),
        lambda output: pack(listing, folder, output, progress=Silent()),
        lambda output: choose(listing, output, root=folder, classes=1, seed=0, per_class=None),
        lambda output: list_tree(folder / "train", output, None),
    ]


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("which", range(4))
def test_outputs_are_tried_first(data_set: Path, which: int) -> None:
    write = writers(data_set)[which]
    (data_set / "folder").mkdir()
    before = tree_of(data_set)
    for output, said in (
        (
            data_set / "train.txt" / "new" / "x",
            f"{data_set}/train.txt/new/x: cannot be written: Not a directory\n-> name another file",
        ),
        (data_set / "folder", f"{data_set}/folder: is not a regular file\n-> name another file"),
    ):
        with pytest.raises(Trouble) as caught:
            write(output)
        assert str(caught.value) == said
        assert tree_of(data_set) == before


@pytest.mark.parametrize("which", range(4))
def test_folders_of_outputs_are_made(data_set: Path, which: int) -> None:
    output = data_set / "new" / "deep" / "x"
    writers(data_set)[which](output)
    assert output.is_file()


def test_folders_are_removed_where_nothing_comes_of_it(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for error in (KeyboardInterrupt, ValueError):
        with pytest.raises(error), prepared(tmp_path / "there" / "a" / "b" / "x"):
            assert (tmp_path / "there" / "a" / "b").is_dir()
            raise error
        assert tree_of(tmp_path) == [tmp_path / "there"]
    with pytest.raises(ValueError), prepared(tmp_path / "new" / "x"):
        (tmp_path / "new" / "kept").write_text("")
        raise ValueError
    assert (tmp_path / "new" / "kept").exists()
    with prepared(tmp_path / "new" / "x"), prepared():
        assert [path.name for path in (tmp_path / "new").iterdir()] == ["kept"]


# --- the mean image ---------------------------------------------------------------------------


def mean_file(folder: Path, *channels: float) -> Path:
    array = np.stack([np.full(SHAPE[1:], value, "<f4") for value in channels])
    stream = io.BytesIO()
    np.save(stream, array)
    (folder / "mean.npy").write_bytes(stream.getvalue())
    return folder / "mean.npy"


@pytest.mark.parametrize(
    ("channels", "problem"),
    [
        ((1e30, 1e30, 1e30), "holds values from 1e+30 to 1e+30, expected 0 to 255, as pixels have"),
        ((-1, 0, 1), "holds values from -1 to 1, expected 0 to 255, as pixels have"),
        ((124, 117, 255.5), "holds values from 117 to 255.5, expected 0 to 255, as pixels have"),
    ],
)
def test_values_that_no_mean_has(tmp_path: Path, channels: Any, problem: str) -> None:
    path = mean_file(tmp_path, *channels)
    assert scan_mean(path) == (None, [f"{path}: {problem}"])


SCALED = (
    "pixels have 0 to 255, and the trainer subtracts it from them as it is"  # of whatever values
)
BGR = "more blue than red, as a mean image in BGR order has; the trainer takes RGB"


@pytest.mark.parametrize(
    ("channels", "warnings"),
    [
        ((124, 117, 104), []),
        ((0, 0, 255), []),
        ((120, 120, 120), []),
        ((128, 131, 136), []),
        ((0.485, 0.456, 0.406), [f"holds values from 0.406 to 0.485; {SCALED}"]),
        ((0, 0, 0), [f"holds values from 0 to 0; {SCALED}"]),
        ((104, 117, 124), [f"has the channel means 104, 117, 124: {BGR}"]),
        ((114, 123, 125), [f"has the channel means 114, 123, 125: {BGR}"]),
    ],
)
def test_odd_means(tmp_path: Path, channels: Any, warnings: List[str]) -> None:
    path = mean_file(tmp_path, *channels)
    mean, problems = scan_mean(path)
    assert problems == [] and mean is not None
    assert mean.warnings == [f"{path}: {text}" for text in warnings]


def test_check_and_submit_warn_of_the_mean(data_set: Path) -> None:
    path = mean_file(data_set, 104, 117, 124)
    said = f"{path}: has the channel means 104, 117, 124: {BGR}"
    looked = {"nclasses": 2, "mean": path, "cache_folder": None, "progress": Silent()}
    found = check(data_set / "train.txt", data_set, **looked)  # type: ignore[arg-type]
    assert found.good and said in found.values()["warnings"]
    lists = {name: data_set / f"{name}.txt" for name in ("train", "val")}
    roots = {"train_root": data_set, "val_root": data_set}
    assert read_lists(**lists, **roots, mean=path, nclasses=2).warnings == [said]


# --- folders ----------------------------------------------------------------------------------


def test_numbers_of_folders_that_are_not_their_labels(
    tmp_path: Path, jpeg: Callable[..., bytes]
) -> None:
    for name in ("0", "1", "2", "10", "11"):
        (tmp_path / "t" / name).mkdir(parents=True)
        (tmp_path / "t" / name / "x.jpg").write_bytes(jpeg(seed=int(name)))
    advice = (
        "where the names are meant to be the labels, write them into a classes file, one per line "
        "in the order of the labels, and name it by --classes"
    )
    done = list_tree(tmp_path / "t", tmp_path / "l.txt", None)
    assert done.warnings == [
        f"{tmp_path}/t: the folder 10 has the label 2, and 2 more so; {advice}"
    ]
    looked = {"nclasses": None, "mean": None, "cache_folder": None, "progress": Silent()}
    found = check(tmp_path / "l.txt", tmp_path / "t", **looked)  # type: ignore[arg-type]
    assert found.good and found.values()["warnings"] == [
        f"{tmp_path}/l.txt: the folder 10 has the label 2, and 2 more so; {advice}"
    ]
    (tmp_path / "classes.txt").write_text("0\n1\n2\n10\n11\n")
    done = list_tree(tmp_path / "t", tmp_path / "l.txt", tmp_path / "classes.txt")
    assert done.warnings == [
        f"{tmp_path}/t: the folder 10 has the label 3, and 1 more so; {advice}"
    ]
    for name in ("10", "11"):
        (tmp_path / "t" / name).rename(tmp_path / "t" / str(int(name) - 7))
    (tmp_path / "classes.txt").unlink()
    assert list_tree(tmp_path / "t", tmp_path / "l.txt", None).warnings == []


def test_numbers_after_names_that_sorting_turns_round() -> None:
    found = number_warnings("l", enumerate(["class_1", "class_10", "class_2", "other"]))
    assert found == [
        "l: the folder class_10 has the label 1, before class_2; where the numbers in the names "
        "are meant to be the order, write them into a classes file, one per line in the order of "
        "the labels, and name it by --classes"
    ]
    # As in ILSVRC2012, by names and by its own numbers; in an order that somebody chose.
    for names in (
        ["n01440764", "n01443537", "n02119789"],
        ["n02119789", "n01440764"],
        ["class_1", "class_2", "class_10"],
        ["a2", "b1"],
        ["a", "a1"],
    ):
        assert number_warnings("l", enumerate(names)) == []


@pytest.mark.parametrize(
    "name",
    ["@eaDir", "#recycle", "@Recycle", "__MACOSX", "lost+found", "$RECYCLE.BIN", ".Trash-1000",
     "System Volume Information", "@Recently-Snapshot", ".snapshot", "#snapshot"],
)  # fmt: skip
def test_what_systems_leave_is_no_class(data_set: Path, name: str) -> None:
    for below in ("", "0"):
        (data_set / "train" / below / name).mkdir()
        (data_set / "train" / below / name / "SYNOPHOTO_THUMB_B.jpg").write_bytes(b"thumbnail")
        (data_set / "train" / below / "Thumbs.db").write_bytes(b"")
        (data_set / "train" / below / ".DS_Store").write_bytes(b"")
        (data_set / "train" / below / "._it.jpg").write_bytes(b"")
    done = list_tree(data_set / "train", data_set / "new.txt", None)
    assert (done.samples, done.classes) == (4, 2)
    assert (data_set / "classes.txt").read_text() == "0\n1\n"
