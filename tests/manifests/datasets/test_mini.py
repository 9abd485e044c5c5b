"""`data mini`: a choice that anybody can make again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Dict, List, Optional

import pytest

from container.trouble import Trouble
from manifests.datasets.choice import chosen_classes, chosen_samples
from manifests.datasets.mini import Mini, choose, choose_alike
from tests.trainer.test_randomness import philox4x64

RECORD_NEXT_STEP = "give the .json file that `data mini` wrote beside the training list"


def make(
    source: Path, output: Path, *, classes: int = 3, seed: int = 1, per_class: Optional[int] = None
) -> Mini:
    return choose(
        source, output, root=source.parent, classes=classes, seed=seed, per_class=per_class
    )


def alike(source: Path, output: Path, record: Path, per_class: Optional[int] = None) -> Mini:
    return choose_alike(source, output, root=source.parent, record=record, per_class=per_class)


@pytest.fixture
def train(tmp_path: Path) -> Path:
    """20 classes of 5 samples in mixed order; class 4 has none."""
    path = tmp_path / "train.txt"
    labels = [(number * 7) % 20 for number in range(100)]
    path.write_text("".join(f"t/{n}.jpg {label}\n" for n, label in enumerate(labels) if label != 4))
    return path


@pytest.fixture
def val(tmp_path: Path) -> Path:
    path = tmp_path / "val.txt"
    path.write_text("".join(f"v/{n}.jpg {n % 20}\n" for n in range(40)))
    return path


def labels_of(path: Path) -> Dict[int, List[str]]:
    found: Dict[int, List[str]] = {}
    for line in path.read_text().splitlines():
        name, label = line.split(" ")
        found.setdefault(int(label), []).append(name)
    return found


def test_the_choice_is_for_ever() -> None:
    """Records stand on it: another outcome is another format. NumPy counts before it generates."""
    words = {label: philox4x64([1, label, 0, 0], [5, 1001])[0] for label in range(1000)}
    expected = sorted(sorted(words, key=lambda label: words[label])[:8])
    assert chosen_classes(5, range(1000), 8) == expected
    blocks = [philox4x64([1 + block, 17, 0, 0], [5, 1002]) for block in range(8)]
    stream = [word for block in blocks for word in block][:30]
    assert chosen_samples(5, 17, 30, 4) == sorted(
        sorted(range(30), key=lambda place: stream[place])[:4]
    )
    assert chosen_classes(0, [3, 1, 2], 3) == [1, 2, 3]


def test_the_choice_depends_on_labels_alone() -> None:
    few = chosen_classes(9, range(100), 10)
    assert chosen_classes(9, reversed(range(100)), 10) == few
    assert set(chosen_classes(9, range(200), 20)) & set(range(100)) <= set(
        chosen_classes(9, range(100), 20)
    )
    assert chosen_classes(10, range(100), 10) != few
    assert set(chosen_samples(9, 1, 50, 5)) <= set(chosen_samples(9, 1, 50, 6))
    assert chosen_samples(9, 2, 50, 5) != chosen_samples(9, 1, 50, 5)


def test_a_list_of_few_classes_and_its_record(train: Path, tmp_path: Path) -> None:
    output = tmp_path / "mini.txt"
    done = make(train, output)
    chosen = done.choice.classes
    assert chosen == chosen_classes(1, [label for label in range(20) if label != 4], 3)
    old = labels_of(train)
    assert labels_of(output) == {new: old[label] for new, label in enumerate(chosen)}
    record = json.loads((tmp_path / "mini.txt.json").read_text())
    assert (record["classes"], record["seed"], record["per_class"]) == (chosen, 1, None)
    for part, path in (("source", train), ("result", output)):
        assert record[part] == {
            "name": path.name,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
    assert done.lines() == [
        f"{output}: 15 samples of 3 classes of train.txt",
        f"{output}.json: the choice; the validation list follows it by --choice",
    ]
    assert done.values()["choice"] == record


def test_again_gives_the_same_bytes_anywhere(train: Path, tmp_path: Path) -> None:
    make(train, tmp_path / "mini.txt", per_class=2)
    other = tmp_path / "other"
    other.mkdir()
    (other / "train.txt").write_bytes(train.read_bytes())
    make(other / "train.txt", other / "mini.txt", per_class=2)
    for name in ("mini.txt", "mini.txt.json"):
        assert (other / name).read_bytes() == (tmp_path / name).read_bytes()
    make(train, tmp_path / "mini.txt", per_class=2, seed=2)
    assert (other / "mini.txt").read_bytes() != (tmp_path / "mini.txt").read_bytes()


def test_few_samples_per_class_in_the_order_of_the_list(train: Path, tmp_path: Path) -> None:
    done = make(train, tmp_path / "mini.txt", per_class=2)
    lines = train.read_text().splitlines()
    kept = [line.split(" ")[0] for line in (tmp_path / "mini.txt").read_text().splitlines()]
    assert kept == [line.split(" ")[0] for line in lines if line.split(" ")[0] in kept]
    old = labels_of(train)
    for new, label in enumerate(done.choice.classes):
        expected = [old[label][place] for place in chosen_samples(1, label, 5, 2)]
        assert labels_of(tmp_path / "mini.txt")[new] == expected


def test_the_validation_list_gets_the_same_classes(train: Path, val: Path, tmp_path: Path) -> None:
    chosen = make(train, tmp_path / "mini.txt").choice.classes
    done = alike(val, tmp_path / "mini-val.txt", tmp_path / "mini.txt.json")
    assert done.choice.classes == chosen
    old = labels_of(val)
    assert labels_of(tmp_path / "mini-val.txt") == {
        new: old[label] for new, label in enumerate(chosen)
    }
    few = alike(val, tmp_path / "few.txt", tmp_path / "mini.txt.json", per_class=1)
    assert (few.samples, few.choice.per_class, few.choice.seed) == (3, 1, 1)


def refused(folder: Path, act: Any) -> str:
    before = {path: path.read_bytes() for path in folder.rglob("*")}
    with pytest.raises(Trouble) as caught:
        act()
    assert {path: path.read_bytes() for path in folder.rglob("*")} == before
    return str(caught.value)


def test_what_cannot_be_chosen(train: Path, val: Path, tmp_path: Path) -> None:
    output = tmp_path / "mini.txt"
    assert refused(tmp_path, lambda: make(train, output, classes=20)) == (
        f"{train}: has samples of 19 classes, fewer than 20\n-> ask for fewer classes"
    )
    done = make(train, tmp_path / "good.txt")
    first, second, third = done.choice.classes
    few = refused(tmp_path, lambda: make(train, output, per_class=6))
    assert few == (
        f"{train}: class {first} has 5 samples, fewer than 6\n"
        f"{train}: class {second} has 5 samples, fewer than 6\n"
        f"{train}: class {third} has 5 samples, fewer than 6\n"
        "-> ask for fewer per class, or give the whole list"
    )
    val.write_text(f"a {first}\nb {third}\n")
    assert refused(tmp_path, lambda: alike(val, output, tmp_path / "good.txt.json")) == (
        f"{val}: class {second} has 0 samples, fewer than 1\n"
        "-> ask for fewer per class, or give the whole list"
    )
    assert refused(tmp_path, lambda: make(train, train)) == (
        f"{train}: is the list that is chosen from\n-> name another output"
    )


def test_records_that_are_none(train: Path, val: Path, tmp_path: Path) -> None:
    output, record = tmp_path / "mini.txt", tmp_path / "record.json"
    assert refused(tmp_path, lambda: alike(val, output, record)) == (
        f"{record}: cannot be read: No such file or directory\n-> {RECORD_NEXT_STEP}"
    )
    make(train, tmp_path / "good.txt")
    good = json.loads((tmp_path / "good.txt.json").read_text())
    record.write_text(json.dumps({**good, "format": 2, "classes": []}))
    assert refused(tmp_path, lambda: alike(val, output, record)) == (
        f"{record}: format: found 2, expected a number <= 1\n"
        f"{record}: classes: found an empty list, expected a list of 1 or more\n"
        f"-> {RECORD_NEXT_STEP}"
    )
