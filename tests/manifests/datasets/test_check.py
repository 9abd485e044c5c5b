"""`data check`: what `submit` would refuse, and what is odd."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, List

import pytest

from container.progress import Silent
from container.trouble import Trouble
from manifests.datasets.check import CheckedList, check
from manifests.datasets.fingerprint import scan_images
from manifests.datasets.list_file import read_list


def checked(folder: Path, **options: Any) -> CheckedList:
    values = {"nclasses": None, "mean": None, "cache_folder": None, **options}
    return check(folder / "train.txt", folder, progress=Silent(), **values)


def lines_of(folder: Path) -> List[str]:
    return (folder / "train.txt").read_text().splitlines()


def test_a_good_list(data_set: Path) -> None:
    found, _ = scan_images(
        read_list(data_set / "train.txt", root=data_set), data_set,
        cache_folder=None, progress=Silent(),
    )  # fmt: skip
    assert found is not None
    done = checked(data_set, mean=data_set / "mean.npy", nclasses=2)
    assert done.good
    assert done.values() == {
        "list": f"{data_set}/train.txt", "root": str(data_set), "samples": 4, "nclasses": 2,
        "fewest": 2, "most": 2, "sha256": found.identity.sha256, "problems": [], "warnings": [],
        "good": True, "advice": "",
    }  # fmt: skip
    assert done.lines() == [
        f"{data_set}/train.txt: 4 samples of 2 classes, 2 to 2 each",
        f"good: nothing that submit would refuse; sha256 {found.identity.sha256}",
    ]


def test_every_kind_of_problem_at_once(data_set: Path, jpeg: Callable[..., bytes]) -> None:
    first, second = (line.rsplit(" ", 1)[0] for line in lines_of(data_set)[:2])
    (data_set / first).write_bytes(jpeg()[:-200])
    (data_set / second).write_bytes(jpeg(size=(300, 200)))
    with (data_set / "train.txt").open("a") as stream:
        stream.write("../outside.jpg 0\nx.jpg 7\nmissing.jpg 1\n")
    (data_set / "mean.npy").write_bytes(b"")
    done = checked(data_set, mean=data_set / "mean.npy", nclasses=2)
    listing = f"{data_set}/train.txt"
    problems = done.values()["problems"]
    cut = problems[3]
    assert cut.startswith(f"{listing}, line 1: {data_set}/{first} is truncated or damaged: ")
    assert problems == [
        f"{listing}, line 5: path '../outside.jpg' is outside of the root folder {data_set}",
        f"{listing}, line 6: label 7 is outside of 0 to 1 (nclasses)",
        f"{data_set}/mean.npy: is not an .npy file",
        cut,
        f"{listing}, line 2: {data_set}/{second} has 300x200 pixels, expected 256x256",
        f"{listing}, line 7: {data_set}/missing.jpg does not exist",
    ]
    assert (done.good, done.sha256) == (False, "")
    assert done.lines() == [
        f"{listing}: 5 samples of 2 classes, 2 to 3 each", *problems, "problems: 6",
    ]  # fmt: skip


def test_what_is_odd_is_a_warning(data_set: Path) -> None:
    lines = lines_of(data_set)
    paths = [line.rsplit(" ", 1)[0] for line in lines]
    (data_set / paths[3]).write_bytes((data_set / paths[0]).read_bytes())
    (data_set / paths[2]).write_bytes((data_set / paths[0]).read_bytes())
    (data_set / "train.txt").write_text("\n".join([*lines, f"{paths[1]} 1", f"{paths[1]} 5", ""]))
    listing = f"{data_set}/train.txt"
    done = checked(data_set, validation=True)
    assert done.good
    assert (done.nclasses, done.fewest, done.most) == (6, 1, 3)
    assert done.values()["warnings"] == [
        f"{listing}: 3 of 6 classes have no sample: 2, 3, 4",
        f"{listing}: {paths[1]} stands in lines 2 and 5",
        f"{listing}: {paths[1]} stands in lines 2 and 6, with the labels 1 and 5",
        f"{listing}: {paths[0]} (line 1) and {paths[2]} (line 3) are the same image",
        f"{listing}: {paths[0]} (line 1) and {paths[3]} (line 4) are the same image, "
        "with the labels 0 and 1",
    ]


def test_one_path_written_in_two_ways(data_set: Path) -> None:
    """As `find .` and a missing strip of slashes write it."""
    lines = lines_of(data_set)
    other = "./" + lines[0].replace("/", "//", 1)
    (data_set / "train.txt").write_text("\n".join([*lines, other, ""]))
    done = checked(data_set)
    name = other.rsplit(" ", 1)[0]
    assert done.good
    assert done.values()["warnings"] == [
        f"{data_set}/train.txt: {lines[0].rsplit(' ', 1)[0]} stands in lines 1 and 5"
    ], name


def test_a_training_list_lacks_no_class(data_set: Path) -> None:
    done = checked(data_set, nclasses=4)
    assert done.values()["problems"] == [
        f"{data_set}/train.txt: 2 of 4 classes have no sample: 2, 3"
    ]
    assert done.values()["warnings"] == []
    (data_set / "train.txt").write_text(
        "\n".join([*lines_of(data_set)[:2], ""]).replace(" 0", " 2")
    )
    assert checked(data_set).values()["problems"] == [
        f"{data_set}/train.txt: 1 of 3 classes has no sample: 0"
    ]


def test_people_see_twenty_of_each_kind_and_programs_see_all(data_set: Path) -> None:
    (data_set / "train.txt").write_text("".join(f"no{n} {n // 30}\n" for n in range(55)))
    done = checked(data_set, nclasses=1)
    assert len(done.values()["problems"]) == 55
    assert len(done.lines()) == 1 + 21 + 21 + 1
    assert done.lines()[21] == f"{data_set}/train.txt: 5 more problems of this kind"
    assert done.lines()[-1] == "problems: 55"


def test_a_list_without_samples_and_one_that_is_not_there(data_set: Path) -> None:
    (data_set / "train.txt").write_text("\n")
    done = checked(data_set)
    assert done.values()["problems"] == [f"{data_set}/train.txt: holds no samples"]
    assert (done.samples, done.nclasses, done.fewest, done.most) == (0, 0, 0, 0)
    (data_set / "train.txt").unlink()
    with pytest.raises(Trouble) as caught:
        checked(data_set)
    assert str(caught.value) == (
        f"{data_set}/train.txt: is not a file\n-> name a list file of `<path> <label>` lines"
    )
