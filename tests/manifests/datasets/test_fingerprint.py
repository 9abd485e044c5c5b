"""Fingerprints of real image files, good ones and each kind of bad one."""

from __future__ import annotations

import hashlib
import os
import struct
import time
import zlib
from pathlib import Path
from typing import Any, Callable, List, Optional

import pytest

from container.progress import Silent
from container.trouble import Trouble
from manifests.datasets import digest_cache
from manifests.datasets.digest_cache import DigestCache, stamp_of
from manifests.datasets.fingerprint import Fingerprint, scan_images
from manifests.datasets.inputs import read_images, read_lists
from manifests.datasets.list_file import SampleList, read_list
from manifests.datasets.table import table_problems


def listed(folder: Path, nclasses: int = 2) -> SampleList:
    return read_list(folder / "train.txt", root=folder, nclasses=nclasses)


def take(folder: Path, cache: Optional[Path] = None) -> Fingerprint:
    found, problems = scan_images(listed(folder), folder, cache_folder=cache, progress=Silent())
    assert found is not None and problems == []
    return found


def refused(folder: Path, cache: Optional[Path] = None) -> List[str]:
    found, problems = scan_images(listed(folder), folder, cache_folder=cache, progress=Silent())
    assert found is None
    return problems


def first_image(folder: Path) -> Path:
    return folder / listed(folder).paths[0]


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remember files at once, instead of after two seconds."""
    monkeypatch.setattr(digest_cache, "SETTLED_NS", -(10**12))


def test_table_follows_the_list(data_set: Path) -> None:
    found = take(data_set)
    samples = listed(data_set)
    rows = [
        f"{hashlib.sha256((data_set / path).read_bytes()).hexdigest()}\t{label}\t{path}\n"
        for path, label in zip(samples.paths, samples.labels)
    ]
    assert found.table == "".join(rows).encode()
    assert found.identity.sha256 == hashlib.sha256(found.table).hexdigest()
    assert found.identity.samples == 4


def test_png_is_accepted(data_set: Path, jpeg: Callable[..., bytes]) -> None:
    first_image(data_set).write_bytes(jpeg(kind="PNG"))
    take(data_set)


def test_every_bad_image_is_named_with_its_line(
    data_set: Path, jpeg: Callable[..., bytes], tmp_path: Path
) -> None:
    good = jpeg()
    (tmp_path / "outside.jpg").write_bytes(good)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x.jpg").write_bytes(good)
    bad = data_set / "bad"
    bad.mkdir()
    (bad / "truncated").write_bytes(good[:-200])
    (bad / "text").write_text("this is not an image")
    (bad / "empty").write_bytes(b"")
    (bad / "gif").write_bytes(jpeg(kind="GIF"))
    (bad / "small").write_bytes(jpeg(size=(300, 200)))
    (bad / "folder").mkdir()
    (bad / "link").symlink_to(tmp_path / "outside.jpg")
    image = first_image(data_set)
    (bad / "inside").symlink_to(image)
    (data_set / "away").symlink_to(tmp_path / "other")
    names = ["missing", "truncated", "text", "empty", "gif", "small", "folder", "link", "inside"]
    lines = [f"bad/{name} 0\n" for name in names]
    (data_set / "train.txt").write_text("".join(lines) + "away/x.jpg 1\n")
    listing = f"{data_set}/train.txt"
    cache = tmp_path / "cache"
    expected = [
        f"{listing}, line 1: {bad}/missing does not exist",
        f"{listing}, line 2: {bad}/truncated is truncated or damaged: Premature end of JPEG file",
        f"{listing}, line 3: {bad}/text is not an image (JPEG or PNG)",
        f"{listing}, line 4: {bad}/empty is empty",
        f"{listing}, line 5: {bad}/gif is a GIF file, expected JPEG or PNG",
        f"{listing}, line 6: {bad}/small has 300x200 pixels, expected 256x256",
        f"{listing}, line 7: {bad}/folder is not a regular file",
        f"{listing}, line 8: {bad}/link is a link that has the absolute target "
        f"{tmp_path}/outside.jpg, which the container does not have",
        f"{listing}, line 9: {bad}/inside is a link that has the absolute target "
        f"{image}, which the container does not have",
        f"{listing}, line 10: {data_set}/away/x.jpg is reached through a link that has the "
        f"absolute target {tmp_path}/other, which the container does not have",
    ]
    for _ in range(2):  # bad images are not remembered as good ones
        assert refused(data_set, cache) == expected


def test_missing_root(data_set: Path) -> None:
    samples = listed(data_set)
    assert scan_images(samples, data_set / "no", cache_folder=None, progress=Silent()) == (
        None, [f"{data_set}/train.txt: its root folder {data_set}/no does not exist"],
    )  # fmt: skip


@pytest.mark.usefixtures("settled")
def test_cache_is_used_and_every_change_is_seen(data_set: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    before = take(data_set, cache)
    path = first_image(data_set)
    status = path.stat()
    # The same size and times by a tool that sets them back: only the change time tells.
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(bytes(data))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    after = take(data_set, cache)
    assert after.identity.sha256 != before.identity.sha256
    assert take(data_set, cache) == after
    assert after == take(data_set)


@pytest.mark.usefixtures("settled")
def test_cached_files_are_not_read(data_set: Path, tmp_path: Path) -> None:
    cache = DigestCache(tmp_path / "cache")
    path = first_image(data_set)
    cache.remember([(str(path), stamp_of(path.stat()), "f" * 64)], now_ns=time.time_ns())
    cache.close()
    assert take(data_set, tmp_path / "cache").table.startswith(b"f" * 64)


def test_fresh_files_are_not_remembered(
    data_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digest_cache, "SETTLED_NS", 3600 * 10**9)
    take(data_set, tmp_path / "cache")
    path = first_image(data_set)
    cache = DigestCache(tmp_path / "cache")
    assert cache.known({str(path): stamp_of(path.stat())}) == {}
    cache.close()


def test_broken_cache_is_a_warning(data_set: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "images-3.sqlite3").write_text("not a database, but long enough to be one" * 50)
    found = take(data_set, cache)
    assert found.table == take(data_set).table
    assert found.warnings == [
        f"image digests are not cached: {cache}/images-3.sqlite3: file is not a database"
    ]
    (tmp_path / "file").write_text("")
    found = take(data_set, tmp_path / "file" / "cache")
    assert len(found.warnings) == 1
    assert found.table == take(data_set).table


def test_both_sets_at_once(data_set: Path) -> None:
    lists = read_lists(
        train=data_set / "train.txt", train_root=data_set, val=data_set / "val.txt",
        val_root=data_set, mean=data_set / "mean.npy", nclasses=2,
    )  # fmt: skip
    assert lists.warnings == []
    found = read_images(
        lists, train_root=data_set, val_root=data_set, cache_folder=None, progress=Silent()
    )
    assert (found.train.identity.samples, found.val.identity.samples) == (4, 2)
    for samples in (lists.train, lists.val):
        (data_set / samples.paths[0]).unlink()
    with pytest.raises(Trouble) as caught:
        read_images(
            lists, train_root=data_set, val_root=data_set, cache_folder=None, progress=Silent()
        )
    assert caught.value.problems == [
        f"{data_set}/train.txt, line 1: {data_set}/{lists.train.paths[0]} does not exist",
        f"{data_set}/val.txt, line 1: {data_set}/{lists.val.paths[0]} does not exist",
    ]
    assert caught.value.next_step == "repair these images or take them out of the list"


def test_many_bad_images_are_capped(data_set: Path) -> None:
    for name, count in (("train", 30), ("val", 21)):
        (data_set / f"{name}.txt").write_text("".join(f"no{n} 0\n" for n in range(count)))
    lists = read_lists(
        train=data_set / "train.txt", train_root=data_set, val=data_set / "val.txt",
        val_root=data_set, mean=data_set / "mean.npy", nclasses=1,
    )  # fmt: skip
    with pytest.raises(Trouble) as caught:
        read_images(
            lists, train_root=data_set, val_root=data_set, cache_folder=None, progress=Silent()
        )
    assert len(caught.value.problems) == 42
    assert caught.value.problems[20::21] == [
        f"{data_set}/train.txt: 10 more problems of this kind",
        f"{data_set}/val.txt: 1 more problems of this kind",
    ]


def test_classes_without_a_sample(data_set: Path) -> None:
    """A warning in the validation set, a problem in the training set."""
    keys: Any = {
        "train": data_set / "train.txt", "train_root": data_set, "val": data_set / "val.txt",
        "val_root": data_set, "mean": data_set / "mean.npy",
    }  # fmt: skip
    val = (data_set / "val.txt").read_text().splitlines(keepends=True)
    (data_set / "val.txt").write_text(val[0])
    assert read_lists(**keys, nclasses=2).warnings == [
        f"{data_set}/val.txt: 1 of 2 classes has no sample: 1"
    ]
    with pytest.raises(Trouble) as caught:
        read_lists(**keys, nclasses=4)
    assert caught.value.problems == [
        f"{data_set}/train.txt: 2 of 4 classes have no sample: 2, 3",
    ]


def test_all_three_files_missing(tmp_path: Path) -> None:
    with pytest.raises(Trouble) as caught:
        read_lists(
            train=tmp_path / "t", train_root=tmp_path, val=tmp_path / "v", val_root=tmp_path,
            mean=tmp_path / "m", nclasses=3,
        )  # fmt: skip
    assert str(caught.value) == (
        f"{tmp_path}/t: cannot be read: No such file or directory\n"
        f"{tmp_path}/v: cannot be read: No such file or directory\n"
        f"{tmp_path}/m: cannot be read: No such file or directory\n"
        "-> correct these files or nclasses; docs/configuration.md says what they must hold"
    )


@pytest.fixture
def table(data_set: Path, tmp_path: Path) -> Path:
    path = tmp_path / "inputs" / "train.tsv"
    path.parent.mkdir()
    path.write_bytes(take(data_set).table)
    return path


def check(table: Path, root: Path, cache: Optional[Path] = None) -> List[str]:
    return table_problems(table, root, cache_folder=cache, progress=Silent())


@pytest.mark.usefixtures("settled")
def test_table_against_the_images(data_set: Path, table: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert check(table, data_set) == check(table, data_set, cache) == []
    paths = listed(data_set).paths
    old = hashlib.sha256((data_set / paths[0]).read_bytes()).hexdigest()
    (data_set / paths[0]).write_bytes((data_set / paths[1]).read_bytes())
    new = hashlib.sha256((data_set / paths[0]).read_bytes()).hexdigest()
    (data_set / paths[2]).unlink()
    expected = [
        f"inputs/train.tsv, line 1: {data_set}/{paths[0]} was altered: sha256 {new}, "
        f"expected {old}",
        f"inputs/train.tsv, line 3: {data_set}/{paths[2]} does not exist",
    ]
    assert check(table, data_set) == check(table, data_set, cache) == expected
    assert check(table, data_set, cache) == expected


def test_table_that_is_broken(data_set: Path, table: Path) -> None:
    table.write_bytes(table.read_bytes()[:-5] + b"\nnonsense\n\xff")
    assert check(table, data_set) == [
        "inputs/train.tsv, line 5: is not `<sha256>\\t<label>\\t<path>`",
        "inputs/train.tsv: does not end with a whole line",
    ]
    assert check(table.parent / "no.tsv", data_set) == [
        "inputs/no.tsv: cannot be read: No such file or directory"
    ]


def test_table_without_its_root(table: Path, tmp_path: Path) -> None:
    assert check(table, tmp_path / "gone") == [
        f"inputs/train.tsv: its root folder {tmp_path}/gone does not exist"
    ]


def test_links_that_work_in_the_container_too(data_set: Path, tmp_path: Path) -> None:
    image = first_image(data_set)
    inside = image.relative_to(data_set)
    more = data_set / "more"
    (more / "deep").mkdir(parents=True)
    (more / "deep" / "a").symlink_to(f"../../{inside}")
    (more / "b").symlink_to("deep/./a")
    (data_set / "same").symlink_to("more/deep")
    (more / "out").symlink_to(f"../../{data_set.name}/{inside}")
    (data_set / "up").symlink_to(f"../{data_set.name}/more")
    (more / "hop").symlink_to("absolute")
    (more / "absolute").symlink_to(image)
    (more / "gone").symlink_to("nothing")
    (more / "loop").symlink_to("loop")
    good = ["more/deep/a", "more/b", "same/a"]
    names = [*good, "more/out", "up/b", "more/hop", "more/gone", "more/loop"]
    (data_set / "train.txt").write_text("".join(f"{name} 0\n" for name in names))
    leaves = "leads out of the root folder, which is all that the container sees"
    listing = f"{data_set}/train.txt"
    assert refused(data_set, None) == [
        f"{listing}, line 4: {more}/out is a link that {leaves}",
        f"{listing}, line 5: {data_set}/up/b is reached through a link that {leaves}",
        f"{listing}, line 6: {more}/hop is a link that has the absolute target {image}, "
        "which the container does not have",
        f"{listing}, line 7: {more}/gone is a link to nothing, which does not exist",
        f"{listing}, line 8: {more}/loop cannot be read: Too many levels of symbolic links",
    ]
    (data_set / "train.txt").write_text(
        "".join(f"{name} {at % 2}\n" for at, name in enumerate(good))
    )
    table = take(data_set, None).table.decode()
    digest = hashlib.sha256(image.read_bytes()).hexdigest()
    assert table == "".join(f"{digest}\t{at % 2}\t{name}\n" for at, name in enumerate(good))


@pytest.mark.parametrize(("width", "height"), [(12000, 12000), (16000, 16000), (2**31 - 1, 3)])
def test_huge_images_are_one_sentence(data_set: Path, width: int, height: int) -> None:
    """PNG headers alone: the size stands in the first chunk, nothing else needs to be there."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    data = b"IDAT" + zlib.compress(b"\0" * 100)
    chunk += struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))
    (data_set / "huge.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk)
    (data_set / "train.txt").write_text("huge.png 0\n")
    assert refused(data_set, None) == [
        f"{data_set}/train.txt, line 1: {data_set}/huge.png has {width}x{height} pixels, "
        "expected 256x256"
    ]
