"""Packed files held against lists and tables: good ones, and each kind of other one."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any, List, Optional

import pytest

from container.progress import Silent
from container.trouble import Trouble
from manifests.datasets import digest_cache
from manifests.datasets.fingerprint import scan_images
from manifests.datasets.inputs import Lists, read_lists, read_packs
from manifests.datasets.pack import pack
from manifests.datasets.packed_images import NEXT_STEP, Packs, pack_problems
from manifests.record.packed_file import RECORD, Decoder, own_decoder

OTHER = Decoder(pillow="9.4.0", libjpeg_turbo="2.1.5")


@pytest.fixture
def folder(data_set: Path) -> Path:
    """The data set with both of its sets packed."""
    for name in ("train", "val"):
        pack(data_set / f"{name}.txt", data_set, data_set / f"{name}.pack", progress=Silent())
    return data_set


def lists_of(folder: Path) -> Lists:
    return read_lists(
        train=folder / "train.txt", train_root=folder, val=folder / "val.txt", val_root=folder,
        mean=folder / "mean.npy", nclasses=2,
    )  # fmt: skip


def read(folder: Path, decoder: Optional[Decoder] = None) -> Any:
    packs = Packs(folder / "train.pack", folder / "val.pack")
    return read_packs(lists_of(folder), packs, decoder=decoder or own_decoder())


def refused(folder: Path, decoder: Optional[Decoder] = None) -> List[str]:
    with pytest.raises(Trouble) as caught:
        read(folder, decoder)
    assert caught.value.next_step == NEXT_STEP
    return caught.value.problems


def patch(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as stream:
        stream.seek(at)
        stream.write(data)


def test_the_fingerprint_is_that_of_the_images(folder: Path) -> None:
    lists = lists_of(folder)
    expected, _ = scan_images(lists.train, folder, cache_folder=None, progress=Silent())
    shutil.rmtree(folder / "train")
    assert read(folder).train == expected


def test_labels_are_those_of_the_list(folder: Path) -> None:
    listing = folder / "train.txt"
    listing.write_text(
        re.sub(r" (\d)\n", lambda found: f" {1 - int(found[1])}\n", listing.read_text())
    )
    table = read(folder).train.table.decode()
    assert [line.split("\t")[1] for line in table.splitlines()] == ["1", "0", "1", "0"]


def test_other_images_than_the_list_says(folder: Path) -> None:
    listing = folder / "train.txt"
    lines = listing.read_text().splitlines()
    gone = lines[1].rsplit(None, 1)[0]
    listing.write_text("\n".join([lines[0], "new/a.jpg 0", *lines[2:], "new/b.jpg 1"]) + "\n")
    assert refused(folder) == [
        f"{listing}, line 2: new/a.jpg is not in {folder}/train.pack",
        f"{listing}, line 5: new/b.jpg is not in {folder}/train.pack",
        f"{folder}/train.pack: image 2 is {gone}, which {listing} does not name",
    ]


def test_of_many_other_images_20_are_named(folder: Path) -> None:
    listing = folder / "train.txt"
    listing.write_text(listing.read_text() + "".join(f"{name} 0\n" for name in range(30)))
    problems = refused(folder)
    assert problems[0] == f"{listing}, line 5: 0 is not in {folder}/train.pack"
    assert problems[20:] == [f"{listing}: 10 more problems of this kind"]


def test_another_order_and_number(folder: Path) -> None:
    listing, packed = folder / "train.txt", folder / "train.pack"
    lines = listing.read_text().splitlines()
    paths = [line.rsplit(None, 1)[0] for line in lines]
    listing.write_text("\n".join([lines[0], lines[3], lines[2], lines[1]]) + "\n")
    assert refused(folder) == [
        f"{listing}, line 2: is {paths[3]}, {packed} has {paths[1]} there: "
        "the same images in another order"
    ]
    listing.write_text("\n".join([*lines, lines[0]]) + "\n")
    assert refused(folder) == [f"{packed}: has 4 images, {listing} names 5"]


def test_both_sets_are_told_at_once(folder: Path) -> None:
    size = (folder / "train.pack").stat().st_size
    os.truncate(folder / "train.pack", size - RECORD)
    (folder / "val.pack").unlink()
    assert refused(folder) == [
        f"{folder}/train.txt: its packed file {folder}/train.pack is cut off: "
        f"it has {size - RECORD} bytes, expected {size}",
        f"{folder}/val.txt: its packed file {folder}/val.pack does not exist",
    ]


def test_damaged_files(folder: Path) -> None:
    patch(folder / "train.pack", 4096, b"altered")
    patch(folder / "val.pack", 8, b"\2\0\0\0")
    assert refused(folder) == [
        f"{folder}/train.txt: its packed file {folder}/train.pack was altered: "
        "its index does not fit its checksum",
        f"{folder}/val.txt: its packed file {folder}/val.pack is of version 2.0, "
        "this bundle reads version 1.x",
    ]
    for name in ("train.pack", "val.pack"):
        (folder / name).unlink()
        (folder / name).mkdir()
    assert refused(folder) == [
        f"{folder}/{name}.txt: its packed file {folder}/{name}.pack cannot be read: Is a directory"
        for name in ("train", "val")
    ]


def test_pixels_of_another_decoder(folder: Path) -> None:
    assert refused(folder, OTHER) == [
        f"{folder}/{name}.txt: its packed file {folder}/{name}.pack has pixels made by "
        f"{own_decoder()}, the image decodes with Pillow 9.4.0 and libjpeg-turbo 2.1.5"
        for name in ("train", "val")
    ]


# --- against a table ------------------------------------------------------------------------


@pytest.fixture
def table(folder: Path, tmp_path: Path) -> Path:
    path = tmp_path / "inputs" / "train.tsv"
    path.parent.mkdir()
    path.write_bytes(read(folder).train.table)
    return path


def check(
    table: Path, packed: Path, *, read_pixels: bool = True, cache: Optional[Path] = None
) -> List[str]:
    return pack_problems(
        table, packed, decoder=own_decoder(), read_pixels=read_pixels, cache_folder=cache,
        progress=Silent(),
    )  # fmt: skip


def test_as_the_table_says(folder: Path, table: Path) -> None:
    assert check(table, folder / "train.pack") == []


def test_altered_pixels(folder: Path, table: Path) -> None:
    packed = folder / "train.pack"
    path = table.read_text().splitlines()[2].split("\t")[2]
    patch(packed, packed.stat().st_size - 2 * RECORD, b"altered")
    assert check(table, packed, read_pixels=False) == []
    (problem,) = check(table, packed)
    assert problem.startswith(
        f"inputs/train.tsv, line 3: the pixels of {path} in {packed} were altered: sha256 "
    )


def test_other_images_than_the_table_says(folder: Path, table: Path) -> None:
    lines = table.read_text().splitlines(keepends=True)
    found = lines[1].split("\t")[0]
    table.write_text("".join([lines[0], "f" * 64 + lines[1][64:], *lines[2:]]))
    packed = folder / "train.pack"
    assert check(table, packed, read_pixels=False) == [
        f"inputs/train.tsv, line 2: {packed} holds another image: sha256 {found}, "
        f"expected {'f' * 64}"
    ]
    table.write_text("".join(lines[:3]))
    assert check(table, packed) == [
        f"inputs/train.tsv: its packed file {packed} has 4 images, not 3"
    ]
    table.write_text("nonsense\n")
    assert check(table, packed) == [
        "inputs/train.tsv, line 1: is not `<sha256>\\t<label>\\t<path>`"
    ]
    table.unlink()
    assert check(table, packed) == ["inputs/train.tsv: cannot be read: No such file or directory"]


def test_no_packed_file(folder: Path, table: Path) -> None:
    assert check(table, folder / "no.pack", read_pixels=False) == [
        f"inputs/train.tsv: its packed file {folder}/no.pack does not exist"
    ]


def test_a_file_found_whole_is_remembered(
    folder: Path, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digest_cache, "SETTLED_NS", -(10**12))
    packed, cache = folder / "train.pack", tmp_path / "cache"
    opened: List[str] = []

    class Noted(Silent):
        def track(self, text: str, total: int, unit: str) -> Any:
            opened.append(f"{text}: {total} {unit}")
            return super().track(text, total, unit)

    def once_more() -> List[str]:
        return pack_problems(
            table, packed, decoder=None, read_pixels=True, cache_folder=cache, progress=Noted()
        )

    assert [once_more(), once_more()] == [[], []]
    assert opened == [f"check the pixels of train.pack: {4 * RECORD} B"]
    status = packed.stat()
    patch(packed, status.st_size - 1, b"x")
    # A tool that sets the times back: only the change time tells.
    os.utime(packed, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert len(once_more()) == len(once_more()) == 1
