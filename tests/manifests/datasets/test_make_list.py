"""`data list`: from trees, from ILSVRC's ground truth, and everything that does not fit."""

from __future__ import annotations

import builtins
import hashlib
from pathlib import Path
from typing import Any, Callable, List

import numpy as np
import pytest

from container.trouble import Trouble
from manifests.datasets.make_list import list_ground_truth, list_tree
from manifests.datasets.synsets import NEXT_STEP as SYNSETS_NEXT_STEP
from manifests.datasets.synsets import read_synsets

TREE_NEXT_STEP = (
    "give a folder that holds one folder of images per class, the same as the classes file"
)
TRUTH_NEXT_STEP = (
    "give ground truth, images and classes of one data set; docs/data.md has an example"
)


def fill(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    return root


def refused(folder: Path, act: Callable[[], Any]) -> str:
    """The whole message; nothing was written in ``folder``."""
    before = sorted(folder.rglob("*"))
    with pytest.raises(Trouble) as caught:
        act()
    assert sorted(folder.rglob("*")) == before
    return str(caught.value)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return fill(
        tmp_path / "tree",
        "n02/b.JPEG", "n02/a.jpg", "n10/x y/c.png", "n1/z.jpg", "n1/notes.txt", ".crop/s.jpg",
    )  # fmt: skip


def test_a_tree_by_sorted_names(tree: Path, tmp_path: Path) -> None:
    output = tmp_path / "train.txt"
    done = list_tree(tree, output, None)
    assert output.read_text() == ("n02/a.jpg 0\nn02/b.JPEG 0\nn1/z.jpg 1\nn10/x y/c.png 2\n")
    assert (tmp_path / "classes.txt").read_text() == "n02\nn1\nn10\n"
    assert done.values() == {
        "list": str(output), "root": str(tree), "samples": 4, "classes": 3, "fewest": 1, "most": 2,
        "classes_file": str(tmp_path / "classes.txt"),
        "sha256": hashlib.sha256(output.read_bytes()).hexdigest(),
        "warnings": [
            f"{tree}: the folder n02 has the label 0, before n1; where the numbers in the names "
            "are meant to be the order, write them into a classes file, one per line in the order "
            "of the labels, and name it by --classes"
        ],
    }  # fmt: skip
    assert done.lines() == [
        f"{output}: 4 samples of 3 classes, 1 to 2 each",
        f"its paths start from {tree}; its labels are the lines of {tmp_path}/classes.txt",
    ]


def test_the_second_list_follows_the_classes_of_the_first(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("n10\nn1\nn02\n")
    list_tree(tree, tmp_path / "val.txt", None)
    assert (tmp_path / "val.txt").read_text().splitlines()[0] == "n02/a.jpg 2"
    assert (tmp_path / "classes.txt").read_text() == "n10\nn1\nn02\n"
    given = tmp_path / "given"
    given.write_text("n02\nn10\nn1\n")
    list_tree(tree, tmp_path / "val.txt", given)
    assert (tmp_path / "val.txt").read_text().splitlines()[-1] == "n10/x y/c.png 1"


def test_a_folder_of_lists_in_the_tree_is_no_class(tree: Path) -> None:
    """It may be made for the list, before the tree is looked through."""
    output = tree / "lists" / "new" / "train.txt"
    made = [list_tree(tree, output, None).sha256 for _ in range(2)]
    assert made[0] == made[1]
    assert (output.parent / "classes.txt").read_text() == "n02\nn1\nn10\n"
    fill(tree, "lists/a.jpg")
    assert refused(tree, lambda: list_tree(tree, output, None)).startswith(
        f"{tree}/lists: is not a class of {output.parent}/classes.txt\n"
    )


def test_a_tree_that_does_not_fit_its_classes(tree: Path, tmp_path: Path) -> None:
    fill(tree, "stray.jpg", "n3/text")
    (tree / "n4").mkdir()
    classes = tmp_path / "classes.txt"
    classes.write_text("n02\nn1\nn10\nn4\nn5\n")
    (tree / "n1" / "a\nb.jpg").write_text("")
    assert refused(tmp_path, lambda: list_tree(tree, tmp_path / "l.txt", None)) == (
        f"{tree}/n1/a\\nb.jpg: its name has control characters\n"
        f"{tree}/n3: is not a class of {classes}\n"
        f"{tree}/stray.jpg: lies in no class folder\n"
        f"{tree}/n4: class 3 has no image\n"
        f"{tree}/n5: class 4 has no image\n"
        f"-> {TREE_NEXT_STEP}"
    )


def test_trees_that_are_none(tmp_path: Path) -> None:
    output = tmp_path / "l.txt"
    assert refused(tmp_path, lambda: list_tree(tmp_path / "no", output, None)) == (
        f"{tmp_path}/no: is not a folder\n-> name the folder of the stored images"
    )
    (tmp_path / "empty").mkdir()
    assert refused(tmp_path, lambda: list_tree(tmp_path / "empty", output, None)) == (
        f"{tmp_path}/empty: holds no class folders\n-> {TREE_NEXT_STEP}"
    )
    missing = tmp_path / "classes"
    assert refused(tmp_path, lambda: list_tree(tmp_path, output, missing)) == (
        f"{missing}: cannot be read: No such file or directory\n"
        "-> give a file with one class name per line, in the order of the labels"
    )
    (tmp_path / "classes").write_text("a\n\nb\na\n")
    assert refused(tmp_path, lambda: list_tree(tmp_path, output, missing)) == (
        f"{missing}, line 2: is empty\n"
        f"{missing}, line 4: class 'a' stands in line 1 already\n"
        "-> give a file with one class name per line, in the order of the labels"
    )
    assert refused(tmp_path, lambda: list_tree(tmp_path, tmp_path / "classes.txt", None)) == (
        f"{tmp_path}/classes.txt: is the name of the classes file\n-> name the list otherwise"
    )


#: In the order of ILSVRC's numbers, which is not that of the ids.
IDS = ["n02119789", "n02100735", "n01440764"]


@pytest.fixture
def ilsvrc(tmp_path: Path) -> Path:
    """A folder as a user has it: validation images, ground truth, numbers of the classes."""
    names = [f"val/ILSVRC2012_val_{number:08d}.JPEG" for number in (1, 2, 3, 4)]
    folder = fill(tmp_path / "ilsvrc", *names)
    (folder / "truth.txt").write_text("3\n1\n1\n2\n")
    (folder / "ids.txt").write_text("".join(f"{name} its, words\n" for name in IDS))
    (folder / "classes.txt").write_text("".join(f"{name}\n" for name in sorted(IDS)))
    return folder


def list_val(folder: Path) -> str:
    output = folder / "val.txt"
    list_ground_truth(folder / "val", folder / "truth.txt", folder / "ids.txt", output, None)
    return output.read_text()


def test_ground_truth(ilsvrc: Path) -> None:
    assert list_val(ilsvrc) == (
        "ILSVRC2012_val_00000001.JPEG 0\n"
        "ILSVRC2012_val_00000002.JPEG 2\n"
        "ILSVRC2012_val_00000003.JPEG 2\n"
        "ILSVRC2012_val_00000004.JPEG 1\n"
    )


@pytest.mark.parametrize(
    "line", ["{number} {name}", "{name} {number} kit_fox", "{number} {name} 7 words"]
)
def test_class_numbers_may_be_written_out_in_any_order(ilsvrc: Path, line: str) -> None:
    expected = list_val(ilsvrc)
    rows = [line.format(number=at, name=name) for at, name in enumerate(IDS, start=1)]
    (ilsvrc / "ids.txt").write_text("\n".join(rows[::-1]))
    assert list_val(ilsvrc) == expected


def write_mat(path: Path, *, leaves: List[str] = IDS) -> None:
    """As the development kit has it: leaves first, then inner nodes of the hierarchy."""
    savemat = pytest.importorskip("scipy.io").savemat
    fields = [("ILSVRC2012_ID", object), ("WNID", object), ("num_children", object)]
    rows = [(at, name, 0) for at, name in enumerate(leaves, start=1)]
    synsets = np.array([*rows, (len(rows) + 1, "n00001740", 2)], dtype=fields)
    savemat(path, {"synsets": synsets.reshape(-1, 1)}, do_compression=True)


def test_the_development_kit_itself(ilsvrc: Path) -> None:
    expected = list_val(ilsvrc)
    write_mat(ilsvrc / "ids.txt")
    assert list_val(ilsvrc) == expected


def test_damaged_or_other_mat_file(ilsvrc: Path) -> None:
    pytest.importorskip("scipy.io").savemat(ilsvrc / "ids.txt", {"other": 1})
    assert refused(ilsvrc, lambda: list_val(ilsvrc)) == (
        f"{ilsvrc}/ids.txt: is not a meta.mat of a development kit: KeyError: 'synsets'\n"
        f"-> {SYNSETS_NEXT_STEP}"
    )


def test_a_mat_file_without_scipy(ilsvrc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mat(ilsvrc / "ids.txt")
    real = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name.startswith("scipy"):
            raise ImportError("No module named 'scipy'")
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    assert refused(ilsvrc, lambda: list_val(ilsvrc)) == (
        f"{ilsvrc}/ids.txt: needs scipy to be read, which cannot be imported: "
        "No module named 'scipy'\n"
        "-> install it from requirements/dev.txt, or run `make dev`, or give a text file"
    )


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("", ["holds no classes"]),
        ("n01440764\nn02100735\n", [
            "has its WordNet ids sorted, which is not the order of ILSVRC's numbers "
            "(number 1 is n02119789); if it is meant, write the numbers into the lines",
        ]),
        ("1 a\nb\n", ["has lines of several forms: no number, number first"]),
        ("1 a\n1 b\n2 a\n", ["number 1 stands for a and b", "a has the numbers 1 and 2"]),
        ("1 a\n4 b\n", ["has 2 classes, but none of number 2"]),
    ],
)  # fmt: skip
def test_class_numbers_that_cannot_be(tmp_path: Path, text: str, problems: List[str]) -> None:
    path = tmp_path / "ids.txt"
    path.write_text(text)
    with pytest.raises(Trouble) as caught:
        read_synsets(path)
    assert caught.value.problems == [f"{path}: {problem}" for problem in problems]
    assert caught.value.next_step == SYNSETS_NEXT_STEP


def test_class_numbers_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "ids.txt"
    with pytest.raises(Trouble) as caught:
        read_synsets(path)
    assert str(caught.value) == (
        f"{path}: cannot be read: No such file or directory\n-> {SYNSETS_NEXT_STEP}"
    )
    path.write_bytes(b"n02119789\n\n\xff")
    with pytest.raises(Trouble) as caught:
        read_synsets(path)
    assert (
        str(caught.value) == f"{path}, line 3: is not UTF-8 text: '\\xff'\n-> {SYNSETS_NEXT_STEP}"
    )
    path.write_bytes(b"n02119789\n\nn02100735")
    with pytest.raises(Trouble) as caught:
        read_synsets(path)
    assert str(caught.value) == f"{path}, line 2: is empty\n-> {SYNSETS_NEXT_STEP}"


def test_images_that_do_not_fit_the_ground_truth(ilsvrc: Path) -> None:
    val, truth = ilsvrc / "val", ilsvrc / "truth.txt"
    (val / "ILSVRC2012_val_00000003.JPEG").rename(val / "ILSVRC2012_val_00000009.JPEG")
    fill(val, "2.jpg", "image.png", "notes.txt")
    truth.write_text("3\n1\n0\nx\n\u200b\n")
    (ilsvrc / "classes.txt").write_text("n01440764\n")
    assert refused(ilsvrc, lambda: list_val(ilsvrc)) == (
        f"{truth}, line 3: '0' is not a class number from 1 to 3\n"
        f"{truth}, line 4: 'x' is not a class number from 1 to 3\n"
        f"{truth}, line 5: '\\u200b' is not a class number from 1 to 3\n"
        f"{val}: 2.jpg and ILSVRC2012_val_00000002.JPEG both have number 2\n"
        f"{val}/ILSVRC2012_val_00000009.JPEG: has number 9, {truth} has 5 lines\n"
        f"{val}/image.png: has no number in its name\n"
        f"{val}: no image has number 3, that of a line of {truth}\n"
        f"{val}: no image has number 5, that of a line of {truth}\n"
        f"n02119789: is not a class of {ilsvrc}/classes.txt\n"
        f"-> {TRUTH_NEXT_STEP}"
    )


def test_ground_truth_that_is_not_there(ilsvrc: Path) -> None:
    (ilsvrc / "truth.txt").unlink()
    assert refused(ilsvrc, lambda: list_val(ilsvrc)) == (
        f"{ilsvrc}/truth.txt: cannot be read: No such file or directory\n-> {TRUTH_NEXT_STEP}"
    )
    (ilsvrc / "truth.txt").write_text("")
    assert refused(ilsvrc, lambda: list_val(ilsvrc)) == (
        f"{ilsvrc}/truth.txt: is empty\n-> {TRUTH_NEXT_STEP}"
    )


def test_ground_truth_needs_the_classes_of_the_training_list(ilsvrc: Path) -> None:
    (ilsvrc / "classes.txt").unlink()
    assert refused(ilsvrc, lambda: list_val(ilsvrc)) == (
        f"{ilsvrc}/classes.txt: does not exist, so that the labels of the training list are not "
        "known\n-> make the training list first, in the same folder, or name its classes file by "
        "--classes"
    )
