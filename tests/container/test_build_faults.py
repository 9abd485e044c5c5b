"""Builds that are killed, doubled, short of room or given something altered: any recipe will do."""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, Callable, List, Optional, Tuple

import pytest

from container.build import build_image, find_image, image_digest
from container.build_folder import remove_tree
from container.cache import Cache
from container.image import Image, published
from container.lock import LockedFile
from container.process import CommandFailed, run
from container.recipe import Recipe
from container.runtime import Runtime
from container.store import Store
from container.trouble import Trouble
from tests.container.builders import (
    Driver,
    NoSource,
    fill,
    last_line,
    leftovers,
    with_lock,
)

pytestmark = [pytest.mark.image, pytest.mark.slow]


TwoBuilds = Tuple[List[List[Any]], List[str], List[str]]


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory,
    project: Path,
    small: Recipe,
    warm_store: Store,
    runtime: Runtime,
) -> TwoBuilds:
    """Two builds of the small recipe at the same time: results, what they said, what is left."""
    folder = tmp_path_factory.mktemp("two")
    cache = Cache(folder / "cache")
    fill(cache, warm_store, small)
    driver = Driver(folder, project, small, cache, runtime.program)
    both = [driver.start(), driver.start()]
    outputs = [process.communicate()[0] for process in both]
    left = [Path(name).suffix for name in leftovers(cache)]
    remove_tree(cache.root)
    return [last_line(output) for output in outputs], outputs, left


def test_killed_at_any_moment_the_next_build_succeeds(
    driver: Driver, fresh_cache: Cache, small: Recipe, undisturbed: TwoBuilds
) -> None:
    """The next build runs without network and gives what an undisturbed one gives."""
    for stage in ("laying out", "building", "packing"):
        process = driver.start()
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(stage):
                if stage == "packing":  # the program that packs goes on, and no image comes of it
                    process.send_signal(signal.SIGSTOP)
                time.sleep(0.2)
                process.send_signal(signal.SIGKILL)
                break
        process.wait()
        process.stdout.close()
        assert find_image(small, fresh_cache) is None
        assert not fresh_cache.images.exists()
        [left] = leftovers(fresh_cache)
        assert left.endswith(".d")
    offline = ["unshare", "--user", "--map-root-user", "--net"]
    after_kill = last_line(run(driver.argv(*offline)).stdout)
    assert [Path(name).suffix for name in leftovers(fresh_cache)] == [".json", ".sif"]
    assert after_kill[:2] == [undisturbed[0][0][0], True]


def test_ctrl_c_leaves_nothing(driver: Driver, fresh_cache: Cache) -> None:
    process = driver.start()
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("building"):
            time.sleep(1)
            process.send_signal(signal.SIGINT)
    process.stdout.close()
    assert process.wait() == -signal.SIGINT
    assert leftovers(fresh_cache) == []


def test_two_builds_at_once_make_one_image(undisturbed: TwoBuilds) -> None:
    results, outputs, left = undisturbed
    assert results[0][0] == results[1][0]
    assert sorted(fresh for _, fresh, _ in results) == [False, True]
    assert sum("waiting for another build of this image" in output for output in outputs) == 1
    assert left == [".json", ".sif"]


@pytest.mark.parametrize("megabytes", [100, 260])
def test_a_full_disk_is_one_clear_message(
    driver: Driver, fresh_cache: Cache, tmp_path: Path, megabytes: int
) -> None:
    """A tmpfs too small to unpack the packages (100), or to pack the tree (260)."""
    disk = tmp_path / "disk"
    disk.mkdir()
    script = (
        f'mount -t tmpfs -o size={megabytes}m tmpfs "$1" && cp -r "$2"/sha256 "$1" && shift 2\n'
        '"$@"; echo "status $?"; ls "$DISK"; ls "$DISK/builds"'
    )
    namespace = ["unshare", "--user", "--map-root-user", "--mount"]
    words = driver.argv()
    words[words.index(str(fresh_cache.root))] = str(disk)
    command = [*namespace, "sh", "-c", script, "sh", str(disk), str(fresh_cache.root), *words]
    done = run(command, env={**os.environ, "DISK": str(disk)})
    message = [line for line in done.stdout.splitlines() if not line.startswith(STAGES)]
    [lock] = [line for line in message if line.endswith(".lock")]
    assert re.fullmatch(
        rf"{disk}, 0\.[0-2] GB free: a build takes about 0\.\d GB more; "
        "it may end with a full disk",
        message.pop(0),
    )
    assert message == [
        f"{disk}: there is no space left for the image (No space left on device)",
        "-> free some space there, or name another folder with BUNDLE_CACHE; then build again",
        "status 2",
        "builds",
        "sha256",
        lock,
    ]


@pytest.mark.parametrize("limit", [10_000_000, 60_000_000])
def test_a_limit_to_the_size_of_files_is_one_clear_message(
    driver: Driver, fresh_cache: Cache, limit: int
) -> None:
    """As `ulimit -f` sets it: too small to unpack a package, or only for all files together."""
    done = subprocess.run(
        driver.argv("prlimit", f"--fsize={limit}"), stdout=subprocess.PIPE, text=True, check=False
    )
    message = [line for line in done.stdout.splitlines() if not line.startswith(STAGES)]
    assert message == [
        f"{fresh_cache.root}: there is no space left for the image (File too large)",
        "-> allow larger files (`ulimit -f unlimited`), then build again",
    ]
    assert done.returncode == 2
    assert leftovers(fresh_cache) == []


@pytest.mark.parametrize(("limit", "cause"), [(-1, True), (0, False), (None, False)])
def test_a_copy_that_ends_at_the_limit_without_a_word(
    small: Recipe,
    fresh_cache: Cache,
    runtime: Runtime,
    monkeypatch: pytest.MonkeyPatch,
    limit: Optional[int],
    cause: bool,
) -> None:
    """The limit, beside the largest package. What Apptainer 1.4.5 said under `ulimit -f 100000`."""
    said = "FATAL:   While performing build: unable to copy files from host to container fs"

    def ending(*_: object, **__: object) -> None:
        raise CommandFailed(["apptainer", "build"], 255, None, "+ mkdir\n" + said)

    largest = max(file.size for file in small.lock.all_files)
    monkeypatch.setattr(Runtime, "build", ending)
    monkeypatch.setattr(
        "container.build.file_limit", lambda: None if limit is None else largest + limit
    )
    with pytest.raises(Trouble) as caught:
        build(small, fresh_cache, runtime)
    assert str(caught.value) == (
        f"{fresh_cache.root}: there is no space left for the image (File too large)\n"
        "-> allow larger files (`ulimit -f unlimited`), then build again"
        if cause
        else "the build of the root file system failed: `apptainer build` ended with status 255:\n"
        f"+ mkdir\n{said}\n-> see the lines above"
    )
    assert leftovers(fresh_cache) == []


STAGES = ("laying", "building", "packing", "writing")


def test_a_pin_that_does_not_load_stops_the_build(
    small: Recipe, fresh_cache: Cache, runtime: Runtime
) -> None:
    probes = [small.lock.probes[0].model_copy(update={"expected": "3.11.99"})]
    with pytest.raises(Trouble) as caught:
        build(with_lock(small, probes=probes), fresh_cache, runtime)
    assert str(caught.value) == (
        "the image has another version than pinned: Python: expected 3.11.99, found 3.11.2\n"
        "-> correct the probe or the pin in the stack file and write the lock anew"
    )
    assert leftovers(fresh_cache) == []


def build(recipe: Recipe, cache: Cache, runtime: Runtime, **sources: Any) -> Image:
    chosen = {"deb_source": NoSource(), "wheel_source": NoSource(), **sources}
    return build_image(recipe, cache, runtime=runtime, **chosen)


class Interrupted(Exception):
    pass


class OneFile:
    """Gives the one file that is expected to be missing, then ends the build."""

    def __init__(self, warm_store: Store) -> None:
        self.warm_store = warm_store
        self.asked: List[str] = []

    def fetch(
        self, files: List[LockedFile], folder: Path, arrived: Callable[[LockedFile, Path], None]
    ) -> None:
        for file in files:
            self.asked.append(file.name)
            target = folder / file.basename
            shutil.copyfile(self.warm_store.path(file.sha256), target)
            arrived(file, target)
        raise Interrupted


def test_an_altered_store_entry_is_fetched_again(
    small: Recipe, fresh_cache: Cache, runtime: Runtime, warm_store: Store
) -> None:
    file = small.lock.debian.files[3]
    entry = Store(fresh_cache.store).path(file.sha256)
    entry.write_bytes(b"altered" + entry.read_bytes()[7:])
    source = OneFile(warm_store)
    with pytest.raises(Interrupted):
        build(small, fresh_cache, runtime, deb_source=source)
    assert source.asked == [file.name]
    assert Store(fresh_cache.store).find(file) == entry
    assert leftovers(fresh_cache) == []


def test_a_folder_that_cannot_be_written(small: Recipe, tmp_path: Path, runtime: Runtime) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Trouble) as caught:
        build(small, Cache(tmp_path / "file/cache"), runtime)
    assert str(caught.value) == (
        f"{tmp_path}/file/cache/builds: cannot be written: Not a directory\n"
        "-> name a folder of yours with BUNDLE_CACHE"
    )


def no_room(path: Path, _sha256: str) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def test_an_image_that_was_altered_is_not_used(
    built_image: Image, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Touched is fine, after reading it whole; one byte is not."""
    cache = Cache(tmp_path / "cache")
    cache.images.mkdir(parents=True)
    path = cache.images / built_image.path.name
    shutil.copyfile(built_image.path, path)
    shutil.copyfile(built_image.path.with_suffix(".json"), path.with_suffix(".json"))
    found = find_image(recipe, cache)
    assert found is not None
    assert found.sha256 == built_image.sha256
    os.utime(path, (1, 1))
    warnings: List[str] = []
    with monkeypatch.context() as full:
        full.setattr("container.image.record_image", no_room)
        assert find_image(recipe, cache, warn=warnings.append) == found
    assert warnings == [f"{path}: that it was read is not remembered: No space left on device"]
    with path.open("r+b") as stream:
        stream.seek(1_000_000)
        byte = stream.read(1)
        stream.seek(1_000_000)
        stream.write(bytes([byte[0] ^ 1]))
    assert find_image(recipe, cache) is None
    assert image_digest(path) != built_image.sha256
    path.unlink()
    assert find_image(recipe, cache) is None


def test_an_altered_image_is_built_again(
    small: Recipe, fresh_cache: Cache, runtime: Runtime, undisturbed: TwoBuilds, lines: Any
) -> None:
    (fresh_cache.root / "altered").write_bytes(b"an image")
    old = published(small, fresh_cache, fresh_cache.root / "altered")
    old.path.write_bytes(b"altered")
    image = build(small, fresh_cache, runtime, progress=lines)
    assert (image.sha256, image.fresh) == (undisturbed[0][0][0], True)
    assert lines.stages[0].startswith(f"the image {image.path} was altered: sha256 expected ")
    assert lines.stages[0].endswith("; building it again")
    assert find_image(small, fresh_cache) is not None
