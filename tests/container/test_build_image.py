"""Real builds. The small recipe (no training libraries) stands in where any recipe will do."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, Callable, Iterator, List, Optional, Tuple

import pytest

from container import squashfs
from container.build import build_image, find_image, image_digest, image_labels
from container.build_folder import remove_tree
from container.cache import Cache
from container.image import Image, published
from container.lock import LockedFile
from container.process import CommandFailed, run
from container.recipe import Recipe
from container.runtime import Runtime, build_prefix
from container.sif import DEFINITION, GENERIC_JSON, LABELS, PARTITION, SBOM, read_object
from container.sources import deb_source, wheel_source
from container.squashfs import pack, unpack_tools
from container.store import Store
from container.trouble import Trouble
from tests.container.builders import (
    Driver,
    NoSource,
    fill,
    last_line,
    other_user,
    public_program,
    with_lock,
)

pytestmark = [pytest.mark.image, pytest.mark.slow]


@pytest.fixture(scope="module")
def warm_store(recipe: Recipe, built_image: Image, shared_cache: Cache) -> Store:
    """The shared store with every input of the lock, even where the image was there already."""
    store = Store(shared_cache.store)
    pairs = (deb_source(None), recipe.lock.debian.files), (wheel_source(), recipe.lock.python.files)
    arrivals = shared_cache.root / f"arrivals-{os.getpid()}"
    arrivals.mkdir()
    try:
        for source, files in pairs:
            missing = [file for file in files if store.find(file) is None]
            if missing:
                source.fetch(missing, arrivals, lambda file, path: store.adopt(path, file) and None)
    finally:
        remove_tree(arrivals)
    return store


@pytest.fixture(scope="module")
def small(recipe: Recipe) -> Recipe:
    """The project's recipe with pip, its helpers and one wheel only."""
    lock = recipe.lock
    kept = [one for one in lock.python.files if "build" in one.roles or one.name == "six"]
    python = lock.python.model_copy(update={"files": kept})
    return with_lock(recipe, python=python, probes=lock.probes[:1])


@pytest.fixture
def fresh_cache(tmp_path: Path, warm_store: Store, recipe: Recipe) -> Iterator[Cache]:
    """An empty cache but for the recipe's inputs."""
    cache = Cache(tmp_path / "cache")
    fill(cache, warm_store, recipe)
    yield cache
    remove_tree(cache.root)


@pytest.fixture
def driver(
    tmp_path: Path, project: Path, small: Recipe, fresh_cache: Cache, runtime: Runtime
) -> Driver:
    return Driver(tmp_path, project, small, fresh_cache, runtime.program)


def leftovers(cache: Cache) -> List[str]:
    """What lies in the cache besides its store and the lock files of builds."""
    found = [*cache.builds.glob("*"), *cache.images.glob("*")]
    return sorted(path.name for path in found if path.suffix != ".lock")


# --- the image of the project's lock ----------------------------------------------------------


def test_the_image_is_what_its_recipe_says(
    built_image: Image, recipe: Recipe, runtime: Runtime
) -> None:
    path = built_image.path
    assert image_digest(path) == built_image.sha256
    assert read_object(path, DEFINITION).decode() == recipe.definition
    assert read_object(path, GENERIC_JSON).decode() == recipe.lock_text
    assert json.loads(read_object(path, LABELS)) == image_labels(recipe)
    assert json.loads(read_object(path, SBOM))["bomFormat"] == "CycloneDX"
    assert read_object(path, PARTITION)[:4] == b"hsqs"
    said = runtime.inspect(path)
    assert said["labels"] == image_labels(recipe)
    assert said["deffile"].strip() == recipe.definition.strip()


def test_every_way_to_start_it_works(built_image: Image, runtime: Runtime) -> None:
    path = built_image.path
    environment = "printenv LC_ALL PYTHONNOUSERSITE GREETING; printenv PYTHONPATH || echo none"
    command = ["sh", "-c", environment]
    foreign = {**os.environ, "PYTHONPATH": "/foreign", "LC_ALL": "de_DE.UTF-8"}
    greeting = ["--env", "GREETING=hello"]
    shown = runtime.execute(path, command, greeting, environ=foreign).stdout
    assert shown == "C.UTF-8\n1\nhello\nnone\n"
    given = [*greeting, "--env", "PYTHONPATH=/given"]
    assert runtime.execute(path, command, given).stdout == "C.UTF-8\n1\nhello\n/given\n"
    options = runtime.exec_options(path)

    def start(verb: str, *words: str, stdin: str = "") -> str:
        return run([str(runtime.program), verb, *options, str(path), *words], stdin=stdin).stdout

    assert start("run", "-c", "import sys; print(sys.version_info[:2])") == "(3, 11)\n"
    assert "hello" in start("shell", stdin="echo hello\n")
    table = start("test")
    for name in ("Python", "NumPy", "OpenBLAS of NumPy", "MPI library", "Chainer"):
        assert name in table


def test_a_library_of_another_version_is_noticed(
    built_image: Image, recipe: Recipe, runtime: Runtime, tmp_path: Path
) -> None:
    probes = [
        probe.model_copy(update={"expected": "0.0"}) if probe.name == "NumPy" else probe
        for probe in recipe.lock.probes
    ]
    wrong = tmp_path / "lock.json"
    wrong.write_text(with_lock(recipe, probes=probes).lock_text)
    command = f'python3 /opt/bundle/check_pins.py "{wrong}" 2>&1; echo $?'
    bind = ["--bind", str(tmp_path)]
    shown = runtime.execute(built_image.path, ["sh", "-c", command], bind).stdout
    assert shown.endswith("pin differs: NumPy: expected 0.0, found 1.23.5\n1\n")


def test_a_finished_image_is_found_at_once(
    built_image: Image, recipe: Recipe, shared_cache: Cache, runtime: Runtime
) -> None:
    again = build_image(
        recipe, shared_cache, runtime=runtime, deb_source=NoSource(), wheel_source=NoSource()
    )
    assert (again.sha256, again.path, again.fresh) == (built_image.sha256, built_image.path, False)


def test_another_user_elsewhere_gets_the_same_image(
    built_image: Image,
    recipe: Recipe,
    warm_store: Store,
    runtime: Runtime,
    project: Path,
    public_folder: Path,
) -> None:
    """Another folder, cache, day, umask, time zone; as an ordinary user when we are root."""
    copy = public_folder / "copied project"
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(project / "container", copy / "container", ignore=ignore)
    cache = Cache(public_folder / "cache")
    fill(cache, warm_store, recipe)
    program = public_program(runtime, project, public_folder)
    driver = Driver(public_folder, copy, recipe, cache, program)
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(public_folder),
        "LANG": "ja_JP.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "SOURCE_DATE_EPOCH": "1",
        "TZ": "Asia/Tokyo",
    }
    prefix, python = other_user(public_folder, environ)
    done = run(driver.argv(*prefix, python=python), cwd=public_folder, env=environ)
    sha256, fresh, path = last_line(done.stdout)
    assert fresh
    assert path.startswith(str(public_folder))
    assert sha256 == built_image.sha256


# --- any recipe -------------------------------------------------------------------------------


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


def test_an_image_that_was_altered_is_not_used(
    built_image: Image, recipe: Recipe, tmp_path: Path
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


def test_the_build_has_no_network_of_its_own() -> None:
    """Where a machine forbids namespaces there is nothing to test."""
    prefix = build_prefix()
    if "--net" not in prefix:
        pytest.skip("this machine does not allow network namespaces")
    devices = run([*prefix, "cat", "/proc/self/net/dev"]).stdout.splitlines()[2:]
    assert [line.split(":")[0].strip() for line in devices] == ["lo"]


def test_packing_depends_neither_on_processors_nor_on_memory(
    recipe: Recipe, warm_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "tools"
    unpack_tools([warm_store.path(one.sha256) for one in recipe.lock.files_for("tools")], tools)
    allowed = os.sched_getaffinity(0)
    packed = []
    for number, (cores, memory) in enumerate((({min(allowed)}, "64M"), (allowed, "1G"))):
        os.sched_setaffinity(0, cores)
        monkeypatch.setattr(squashfs, "MEMORY", memory)
        try:
            target = tmp_path / f"{number}.squashfs"
            pack(tools, target, tools=tools, compression="gzip", timestamp=1)
            packed.append(image_digest(target))
        finally:
            os.sched_setaffinity(0, allowed)
    assert packed[0] == packed[1]
