"""Real builds: what comes out is what the recipe says, for anybody, anywhere."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from container import squashfs
from container.build import build_image, image_digest, image_labels
from container.cache import Cache
from container.image import Image
from container.process import run
from container.recipe import Recipe
from container.runtime import Runtime, build_prefix
from container.sif import DEFINITION, GENERIC_JSON, LABELS, PARTITION, SBOM, read_sif_object
from container.squashfs import pack, unpack_tools
from container.store import Store
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


# --- the image of the project's lock ----------------------------------------------------------


def test_the_image_is_what_its_recipe_says(
    built_image: Image, recipe: Recipe, runtime: Runtime
) -> None:
    path = built_image.path
    assert image_digest(path) == built_image.sha256
    assert read_sif_object(path, DEFINITION).decode() == recipe.definition
    assert read_sif_object(path, GENERIC_JSON).decode() == recipe.lock_text
    assert json.loads(read_sif_object(path, LABELS)) == image_labels(recipe)
    assert json.loads(read_sif_object(path, SBOM))["bomFormat"] == "CycloneDX"
    assert read_sif_object(path, PARTITION)[:4] == b"hsqs"
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
    for package in ("container", "manifests"):
        shutil.copytree(project / package, copy / package, ignore=ignore)
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
