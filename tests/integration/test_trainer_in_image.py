"""The trainer's own tests, run by the image's Python with the libraries that really train."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from container.runtime import find_runtime
from jobtemplates.launcher import INSIDE
from tests.integration.conftest import PROJECT

#: pytest and what it imports, all of it plain Python: bound into the image for this test only.
PYTEST = ("pytest", "_pytest", "pluggy", "iniconfig", "packaging", "pygments", "py")


def image_file() -> Path:
    built = subprocess.run(
        [sys.executable, str(PROJECT / "bundle.py"), "build", "--stack", "cpu", "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    return Path(json.loads(built.stdout)["path"])


@pytest.mark.image
def test_where_the_hosts_mpi_lies_is_nothing_to_the_images(image: str) -> None:
    """Sites with a relocated Open MPI set OPAL_PREFIX for mpirun, and ranks inherit it."""
    del image
    environment = {**os.environ, "OPAL_PREFIX": "/opt/elsewhere/ompi"}
    words = [word for name, value in INSIDE.items() for word in ("--env", f"{name}={value}")]
    argv = find_runtime(PROJECT, os.environ).exec_argv(
        image_file(),
        ["python3", "-c", "from mpi4py import MPI; print(MPI.COMM_WORLD.size)"],
        options=words,
    )
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


@pytest.mark.image
@pytest.mark.slow
def test_the_trainers_tests_pass_in_the_image(image: str, tmp_path: Path) -> None:
    del image
    tools = tmp_path / "pytest"
    tools.mkdir()
    for name in PYTEST:
        spec = importlib.util.find_spec(name)
        assert spec is not None and spec.origin is not None
        origin = Path(spec.origin)
        if origin.name == "__init__.py":
            shutil.copytree(origin.parent, tools / name)
        else:
            shutil.copy(origin, tools / origin.name)
    runtime = find_runtime(PROJECT, os.environ)
    scratch = tmp_path / "scratch"
    environment = {"PYTHONPATH": tools, "PYTHONNOUSERSITE": 1, "PYTHONDONTWRITEBYTECODE": 1}
    options = ["--bind", f"{tmp_path}", "--bind", f"{PROJECT}:{PROJECT}:ro", "--pwd", f"{PROJECT}"]
    for name, value in environment.items():
        options += ["--env", f"{name}={value}"]
    command = ["python3", "-m", "pytest", "-p", "no:cacheprovider", "-q"]
    argv = runtime.exec_argv(
        image_file(),
        [*command, "--basetemp", str(scratch), "tests/trainer"],
        options=options,
    )
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=600)
    print(done.stdout[-4000:])
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
    assert " failed" not in done.stdout
