"""Large sets known as a whole: the same table as image by image, and never one that is not true"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any, Callable, List

import pytest

from container.progress import Silent
from manifests.datasets import fingerprint, known_set
from manifests.datasets.cache_folder import OnlyRead
from manifests.datasets.fingerprint import scan_images
from manifests.datasets.known_set import KEPT, known_sets, remember_table
from manifests.datasets.list_file import scan_list

COUNT = 24


@pytest.fixture
def images(tmp_path: Path, jpeg: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of a few images, old enough to be remembered; small sets count as large here."""
    monkeypatch.setattr(fingerprint, "SMALLEST", 4)
    monkeypatch.setattr(known_set, "CHUNK", 5)
    root = tmp_path / "images"
    for number in range(COUNT):
        path = root / f"n{number % 3}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(seed=number))
        os.utime(path, (1e9, 1e9))
    lines = "".join(f"n{number % 3}/{number}.jpg {number % 3}\n" for number in range(COUNT))
    (tmp_path / "list.txt").write_text(lines)
    monkeypatch.setattr(known_set, "SETTLED_NS", -(10**15))  # the change time cannot be set back
    return root


def scanned(root: Path, cache: Any) -> Any:
    samples, problems = scan_list(root.parent / "list.txt", root=root, nclasses=3)
    assert problems == []
    return scan_images(samples, root, cache_folder=cache, progress=Silent(), workers=1)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> List[str]:
    """Names that were looked up one by one."""
    found: List[str] = []
    original = fingerprint.file_digests

    def listed(folder: Any, names: Any, **more: Any) -> Any:
        found.extend(names)
        return original(folder, names, **more)

    monkeypatch.setattr(fingerprint, "file_digests", listed)
    return found


def test_the_second_time_nothing_is_looked_up_one_by_one(
    images: Path, tmp_path: Path, read: List[str]
) -> None:
    cache = tmp_path / "cache"
    first, _ = scanned(images, cache)
    assert len(read) == COUNT
    again, problems = scanned(images, cache)
    assert problems == [] and len(read) == COUNT
    assert (again.table, again.identity) == (first.table, first.identity)
    plain, _ = scanned(images, None)
    assert plain.table == first.table


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_bytes(path.read_bytes() + b"\0"),
        lambda path: os.utime(path, (1e9 + 1, 1e9 + 1)),
        lambda path: (path.rename(f"{path}~"), path.symlink_to(f"{path.name}~")),
        lambda path: (path.rename(f"{path}~"), path.write_bytes(Path(f"{path}~").read_bytes())),
    ],
)
def test_a_file_that_is_another_one_is_looked_up(
    images: Path, tmp_path: Path, read: List[str], change: Callable[[Path], object]
) -> None:
    scanned(images, tmp_path / "cache")
    change(images / "n1" / "13.jpg")
    found, problems = scanned(images, tmp_path / "cache")
    assert len(read) == 2 * COUNT
    plain, plain_problems = scanned(images, None)
    assert (found and found.table, problems) == (plain and plain.table, plain_problems)


def test_an_image_that_is_gone_is_named(images: Path, tmp_path: Path) -> None:
    scanned(images, tmp_path / "cache")
    (images / "n2" / "5.jpg").unlink()
    found, problems = scanned(images, tmp_path / "cache")
    assert found is None
    assert problems == [f"{tmp_path}/list.txt, line 6: {images}/n2/5.jpg does not exist"]


def test_another_list_or_label_is_another_set(
    images: Path, tmp_path: Path, read: List[str]
) -> None:
    first, _ = scanned(images, tmp_path / "cache")
    listed = tmp_path / "list.txt"
    listed.write_text(listed.read_text().replace("n0/0.jpg 0", "n0/0.jpg 1"))
    other, _ = scanned(images, tmp_path / "cache")
    assert len(read) == 2 * COUNT and other.table != first.table
    assert other.table.count(b"\t1\t") == first.table.count(b"\t1\t") + 1


@pytest.mark.parametrize("damage", [b"", b"{}\n", b'{"table": "", "parts": [[9, 1]]}\nabc', None])
def test_a_damaged_memory_counts_as_none(
    images: Path, tmp_path: Path, read: List[str], damage: bytes
) -> None:
    first, _ = scanned(images, tmp_path / "cache")
    (file,) = known_sets(tmp_path / "cache")
    whole = file.read_bytes()
    changed = whole.replace(b"\t1\tn1/1.jpg", b"\t2\tn1/1.jpg") if damage is None else damage
    assert changed != whole
    file.write_bytes(changed)
    again, _ = scanned(images, tmp_path / "cache")
    assert len(read) == 2 * COUNT and again.table == first.table


def test_files_that_may_still_change_and_links_are_not_remembered(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = images / "n0" / "0.jpg"
    link.rename(images / "n0" / "real.jpg")
    link.symlink_to("real.jpg")
    scanned(images, tmp_path / "cache")
    assert known_sets(tmp_path / "cache") == []
    link.unlink()
    (images / "n0" / "real.jpg").rename(link)
    monkeypatch.setattr(known_set, "SETTLED_NS", 3600 * 10**9)
    scanned(images, tmp_path / "cache")
    assert known_sets(tmp_path / "cache") == []


def test_a_dry_run_asks_and_writes_nothing(images: Path, tmp_path: Path, read: List[str]) -> None:
    cache = tmp_path / "cache"
    scanned(images, OnlyRead(cache))
    assert not cache.exists()
    scanned(images, cache)
    (file,) = known_sets(cache)
    before = (file.stat().st_mtime_ns, sorted(cache.iterdir()))
    scanned(images, OnlyRead(cache))
    assert len(read) == 2 * COUNT
    assert (file.stat().st_mtime_ns, sorted(cache.iterdir())) == before


def test_the_sets_used_last_are_kept(tmp_path: Path) -> None:
    for number in range(KEPT + 3):
        remember_table(tmp_path, f"{number:032x}", [b"a\n"], [(1, 2, 3, 4)], time.time_ns())
        file = known_sets(tmp_path)[0]
        os.utime(tmp_path / f"{known_set._PREFIX}{number:032x}", (number, number))
        assert file.exists()
    kept = [int(path.name[-32:], 16) for path in known_sets(tmp_path)]
    assert kept == list(range(KEPT + 2, 2, -1))


def test_workers_find_the_same(images: Path, tmp_path: Path) -> None:
    first, _ = scanned(images, tmp_path / "cache")
    samples, _ = scan_list(tmp_path / "list.txt", root=images, nclasses=3)
    again, _ = scan_images(
        samples, images, cache_folder=tmp_path / "cache", progress=Silent(), workers=2
    )
    assert again is not None and again.table == first.table


def test_another_command_may_remove_what_is_remembered(tmp_path: Path) -> None:
    stays = tmp_path / f"{known_set._PREFIX}{0:032x}"
    stays.touch()
    over = threading.Event()

    def come_and_go() -> None:
        others = [tmp_path / f"{known_set._PREFIX}{number:032x}" for number in range(1, 40)]
        while not over.is_set():
            for act in (Path.touch, Path.unlink):
                for path in others:
                    act(path)

    other = threading.Thread(target=come_and_go)
    other.start()
    try:
        assert all(stays in known_sets(tmp_path) for _ in range(500))
    finally:
        over.set()
        other.join()
