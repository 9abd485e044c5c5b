from pathlib import Path
from typing import Any, Callable, Sequence, Tuple

import pytest

from container.download import Downloader
from container.fetch import fill_store
from container.lock import LockedFile
from container.sources import (
    OTHER_INDEX,
    OTHER_MIRROR,
    IndexSource,
    MirrorSource,
    Source,
    pool_path,
)
from container.store import Store
from container.trouble import Trouble
from container.wheel_index import PipSettings, WheelIndex

Locked = Callable[..., LockedFile]
Bench = Tuple[Store, MirrorSource, IndexSource]


@pytest.fixture
def bench(tmp_path: Path, web: Any) -> Bench:
    """An empty store, and a mirror and an index that have nothing yet."""
    (web.folder / "simple").mkdir()
    downloader = Downloader(sleep=lambda _seconds: None)
    index = WheelIndex(PipSettings((web.url + "simple",)), downloader)
    return Store(tmp_path / "sha256"), MirrorSource(web.url, downloader), IndexSource(index)


def fill(
    store: Store, tmp_path: Path, lines: Any, *shares: Tuple[Sequence[LockedFile], Source]
) -> None:
    fill_store(store, [("x", *share) for share in shares], tmp_path / "arrivals", lines)


def altered(store: Store, file: LockedFile) -> str:
    """Store an altered copy; returns what is said of it."""
    entry = store.path(file.sha256)
    entry.parent.mkdir(parents=True)
    entry.write_bytes(b"x")
    return f"the stored copy of {file.basename} was altered (expected {file.size} bytes, found 1)"


def unserved(file: LockedFile, reason: str) -> str:
    expected = f"(expected {file.size} bytes, sha256 {file.sha256})"
    return f"{file.basename}: cannot be fetched: {reason} {expected}"


def test_an_altered_stored_copy_is_said_so_and_fetched_again(
    bench: Bench, tmp_path: Path, web: Any, locked: Locked, lines: Any
) -> None:
    store, mirror, _ = bench
    file = locked("hello")
    fault = altered(store, file)
    (web.folder / file.file).parent.mkdir(parents=True)
    (web.folder / file.file).write_bytes(b"content")
    fill(store, tmp_path, lines, ([file], mirror))
    assert lines.stages == [f"{fault}: fetching it again"]
    assert store.path(file.sha256).read_bytes() == b"content"


def test_what_debian_and_python_lack_is_told_at_once(
    bench: Bench, tmp_path: Path, locked: Locked, lines: Any
) -> None:
    store, mirror, index = bench
    one, two = locked("one", b"1"), locked("two", b"22")
    six = locked("six", b"six", file="six-1.17.0-py2.py3-none-any.whl")
    faults = [altered(store, two), altered(store, six)]
    with pytest.raises(Trouble) as caught:
        fill(store, tmp_path, lines, ([one, two], mirror), ([six], index))
    problems = [
        faults[0],
        unserved(one, "404 File not found"),
        unserved(two, "404 File not found"),
        faults[1],
        unserved(six, "no configured package index lists it"),
    ]
    steps = [f"-> {OTHER_MIRROR}", f"-> {OTHER_INDEX}"]
    assert str(caught.value) == "\n".join([*problems, *steps])
    assert lines.stages == [f"{fault}: fetching it again" for fault in faults]
    assert list((tmp_path / "arrivals").iterdir()) == []


def test_a_mirror_that_does_not_answer_is_not_asked_for_every_file(
    bench: Bench, tmp_path: Path, web: Any, locked: Locked, lines: Any
) -> None:
    store, mirror, _ = bench
    files = [locked(name, name.encode()) for name in ("one", "two", "three")]
    web.answers["/" + pool_path(files[0].file)] = [503] * 9
    with pytest.raises(Trouble) as caught:
        fill(store, tmp_path, lines, (files, mirror))
    assert str(caught.value) == (
        unserved(files[0], "503 Service Unavailable")
        + "\nskipped after this failure: two_1.0+b1_amd64.deb, three_1.0+b1_amd64.deb\n"
        f"-> {OTHER_MIRROR}"
    )


def test_an_index_that_does_not_answer_is_not_asked_for_every_file(
    bench: Bench, tmp_path: Path, web: Any, locked: Locked, lines: Any
) -> None:
    store, _, index = bench
    files = [locked(name, name.encode(), file=f"{name}.whl") for name in ("one", "two")]
    web.answers["/simple/one/"] = [503] * 9
    with pytest.raises(Trouble) as caught:
        fill(store, tmp_path, lines, (files, index))
    assert str(caught.value) == (
        f"{web.url}simple does not answer: 503 Service Unavailable\n"
        f"skipped after this failure: one.whl, two.whl\n-> {OTHER_INDEX}"
    )
