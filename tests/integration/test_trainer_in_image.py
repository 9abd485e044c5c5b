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
from tests.trainer.image import capabilities

#: pytest and what it imports, all of it plain Python: bound into the image for this test only.
PYTEST = ("pytest", "_pytest", "pluggy", "iniconfig", "packaging", "pygments", "py")


#: Files that another process may be writing.
COMPILED = shutil.ignore_patterns("__pycache__")

#: What asks CuPy or NVRTC; the kernels are compiled for every promised architecture.
ABOUT_GPUS = (
    "test_cudnn_layers.py",
    "test_prefetch.py",
    "test_gpu_contract.py",
    "test_gpu_kernels.py",
    "test_gpu_reductions.py",
    "test_loss_scale.py",
    "test_normalization.py",
    "test_on_gpu.py",
    "test_update_kernels.py",
    "test_whole_runs_on_gpu.py",
)


def image_file(stack: str = "cpu") -> Path:
    built = subprocess.run(
        [sys.executable, str(PROJECT / "bundle.py"), "build", "--stack", stack, "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    return Path(json.loads(built.stdout)["path"])


def pytest_in(image: Path, tmp_path: Path, *paths: str, gpus: bool = False) -> str:
    """What pytest printed in the image, which sees this host's GPUs or not; asserts that nothing
    failed."""
    tools = tmp_path / "pytest"
    tools.mkdir()
    for name in PYTEST:
        spec = importlib.util.find_spec(name)
        assert spec is not None and spec.origin is not None
        origin = Path(spec.origin)
        if origin.name == "__init__.py":
            shutil.copytree(origin.parent, tools / name, ignore=COMPILED)
        else:
            shutil.copy(origin, tools / origin.name)
    scratch = tmp_path / "scratch"
    environment = {"PYTHONPATH": tools, "PYTHONNOUSERSITE": 1, "PYTHONDONTWRITEBYTECODE": 1}
    options = ["--nv"] if gpus else []
    options += ["--bind", f"{tmp_path}", "--bind", f"{PROJECT}:{PROJECT}:ro", "--pwd", f"{PROJECT}"]
    for name, value in environment.items():
        options += ["--env", f"{name}={value}"]
    command = ["python3", "-m", "pytest", "-p", "no:cacheprovider", "-q", "-rs"]
    argv = find_runtime(PROJECT, os.environ).exec_argv(
        image, [*command, "--basetemp", str(scratch), *paths], options=options
    )
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=3600)
    print(done.stdout[-4000:])
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
    assert " failed" not in done.stdout
    return done.stdout


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
    pytest_in(image_file(), tmp_path, "tests/trainer")


@pytest.mark.long
def test_what_is_for_gpus_passes_in_the_image_for_gpus(tmp_path: Path) -> None:
    """Without a GPU: what needs one is skipped, what needs CuPy or NVRTC is not."""
    paths = [f"tests/trainer/{name}" for name in ABOUT_GPUS]
    printed = pytest_in(image_file("cuda12"), tmp_path, *paths)
    assert "CuPy is not installed" not in printed
    assert "no Chainer" not in printed


@pytest.mark.gpu
@pytest.mark.long
@pytest.mark.skipif(not capabilities(), reason="there is no GPU, or no image for GPUs is built")
def test_what_needs_a_gpu_passes_in_the_image(tmp_path: Path) -> None:
    """But whole runs: tests/trainer starts those from the host."""
    words = ["-m", "gpu and not mpi", "tests/trainer"]
    printed = pytest_in(image_file("cuda12"), tmp_path, *words, gpus=True)
    assert " skipped" not in printed
