"""`data describe`: a list and its packed file in Croissant form."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from container.progress import Silent
from container.trouble import Trouble
from manifests.crate.list_description import describe_list
from manifests.datasets.pack import pack


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_list_and_its_pack(data_set: Path) -> None:
    source = data_set / "train.txt"
    alone = describe_list(source, data_set, None, None, Silent())
    assert alone.lines() == [f"{data_set}/train.txt.croissant.json: 4 samples"]
    packed = data_set / "train.pack"
    pack(source, data_set, packed, progress=Silent(), workers=1)
    done = describe_list(source, data_set, None, None, Silent())
    before = done.path.read_bytes()
    document = json.loads(before)
    assert document["conformsTo"] == "http://mlcommons.org/croissant/1.0"
    files = {
        file["@id"]: (file["sha256"], file["contentSize"]) for file in document["distribution"]
    }
    assert files == {
        "train.txt": (sha256_of(source), f"{source.stat().st_size} B"),
        "train.pack": (sha256_of(packed), f"{packed.stat().st_size} B"),
    }
    (records,) = document["recordSet"]
    assert [field["@id"] for field in records["field"]] == ["samples/path", "samples/label"]
    describe_list(source, data_set, None, None, Silent())
    assert done.path.read_bytes() == before
    apart = data_set / "more" / "x.json"
    apart.parent.mkdir()
    describe_list(source, data_set, packed, apart, Silent())
    assert json.loads(apart.read_text())["distribution"][0]["contentUrl"] == "../train.txt"


def test_bad_input_leaves_nothing(data_set: Path) -> None:
    source, other = data_set / "train.txt", data_set / "val.pack"
    pack(data_set / "val.txt", data_set, other, progress=Silent(), workers=1)
    again = f"-> pack the images again: python bundle.py data pack LIST -o {other}"
    with pytest.raises(Trouble) as caught:
        describe_list(source, data_set, other, None, Silent())
    assert str(caught.value) == f"{other}: holds 2 images, the list has 4\n{again}"
    other.write_bytes(other.read_bytes()[:-1])
    with pytest.raises(Trouble) as caught:
        describe_list(source, data_set, other, None, Silent())
    assert str(caught.value).startswith(f"{other}: is cut off: ")
    with pytest.raises(Trouble) as caught:
        describe_list(data_set / "mean.npy", data_set, None, None, Silent())
    assert "is not UTF-8 text" in str(caught.value)
    with pytest.raises(Trouble) as caught:
        describe_list(data_set / "none.txt", data_set, None, None, Silent())
    assert "none.txt: cannot be read: No such file or directory" in str(caught.value)
    assert list(data_set.glob("*.json")) == []
