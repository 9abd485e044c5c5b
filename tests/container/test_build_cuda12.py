"""The image of stack cuda12, really built, and what can be known of it without a GPU."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Dict, List

import pytest

from container.build import build_image, image_digest
from container.cache import Cache
from container.image import Image
from container.process import CommandFailed, run
from container.recipe import Recipe, load_recipe
from container.runtime import Runtime
from container.sif import SBOM, read_sif_object
from container.sources import deb_source, wheel_source
from container.store import Store
from tests.container.builders import Driver, fill, last_line, other_user, public_program

pytestmark = pytest.mark.long

SITE = "/usr/local/lib/python3.11/dist-packages"
#: Bytes that a second build takes beside the first: inputs, tree, squashfs and image.
ROOM = 10e9


@pytest.fixture(scope="module")
def cuda12(project: Path) -> Recipe:
    return load_recipe(project, "cuda12")


@pytest.fixture(scope="module")
def image(cuda12: Recipe, shared_cache: Cache, runtime: Runtime) -> Image:
    """In the user's own cache: what is fetched and built once is there the next time."""
    return build_image(
        cuda12,
        shared_cache,
        runtime=runtime,
        deb_source=deb_source(None),
        wheel_source=wheel_source(),
    )


def probed(
    image: Image, runtime: Runtime, options: List[str], environ: Dict[str, str]
) -> Dict[str, str]:
    """Pin -> what was found. Raises CommandFailed where one differs."""
    check = ["python3", "/opt/bundle/check_pins.py", "/opt/bundle/lock.json"]
    table = runtime.execute(image.path, check, options, environ=environ).stdout.splitlines()
    column = table[0].index("found")
    return {line[: table[0].index("expected")].strip(): line[column:] for line in table[1:]}


def test_it_is_no_larger_than_it_says(image: Image) -> None:
    assert image.size <= 1_700_000_000


def test_the_pinned_libraries_load(image: Image, cuda12: Recipe, runtime: Runtime) -> None:
    found = probed(image, runtime, [], dict(os.environ))
    assert found == {probe.name: probe.expected for probe in cuda12.lock.probes}
    assert found["GPUs that NVRTC compiles for"] == "sm_60 sm_70 sm_80 sm_90"
    assert {"cuDNN", "NCCL", "NVRTC", "cuRAND", "cuBLAS", "MPI library", "CuPy", "Chainer"} < {
        *found
    }


@pytest.fixture
def foreign_cuda(tmp_path: Path) -> Path:
    """A host's CUDA: whoever uses any part of it fails or answers something else."""
    folder = tmp_path / "foreign"
    libraries = folder / "cuda" / "lib64"
    for place in ("cuda/bin", "cuda/include", "cuda/lib64", "python/cupy", "home/.cupy"):
        (folder / place).mkdir(parents=True)
    nvcc = folder / "cuda/bin/nvcc"
    nvcc.write_text("#!/bin/sh\necho leaked\n")
    nvcc.chmod(0o755)
    (folder / "cuda/include/cuda_fp16.h").write_text("#error leaked\n")
    (folder / "python/cupy/__init__.py").write_text("raise RuntimeError('leaked')\n")
    names = ("cublas.so.12", "cudart.so.12", "cudnn.so.8", "curand.so.10", "nccl.so.2")
    for name in (*names, "nvrtc.so.12"):
        (libraries / f"lib{name}").write_text("leaked")
    # Where CuPy 13 looks in the user's home first: cupy/.data/_wheel.json.
    own = folder / "home/.cupy/cuda_lib/12.x/cudnn/8.8.1/lib64"
    own.mkdir(parents=True)
    (own / "libcudnn.so.8.8.1").write_text("leaked")
    user_site = folder / "home/.local/lib/python3.11/site-packages"
    shutil.copytree(folder / "python", user_site)
    return folder


def foreign_environment(folder: Path) -> Dict[str, str]:
    cuda = folder / "cuda"
    return {
        "CUDA_HOME": str(cuda),
        "CUDA_PATH": str(cuda),
        "CUPY_ACCELERATORS": "none",
        "CUPY_COMPILE_WITH_PTX": "1",
        "CUPY_CUDA_COMPILE_WITH_DEBUG": "1",
        "CUPY_CUDA_LIB_PATH": str(folder / "home/.cupy/cuda_lib"),
        "CUPY_DEFAULT_PRECISION": "32",
        "CUPY_TF32": "1",
        "LD_LIBRARY_PATH": str(cuda / "lib64"),
        "LD_PRELOAD": str(cuda / "lib64/libcudnn.so.8"),
        "NVCC": str(cuda / "bin/nvcc"),
        "PYTHONHOME": str(folder / "python"),
        "PYTHONPATH": str(folder / "python"),
    }


def home(folder: Path) -> List[str]:
    return ["--home", str(folder / "home"), "--bind", str(folder)]


def test_no_cuda_of_the_host_can_leak_in(
    image: Image, cuda12: Recipe, runtime: Runtime, foreign_cuda: Path
) -> None:
    environ = {
        **os.environ,
        **foreign_environment(foreign_cuda),
        "PATH": f"{foreign_cuda / 'cuda/bin'}:{os.environ['PATH']}",
    }
    # The host's own loader and Python would not survive these two.
    names = [name for name in ("LD_PRELOAD", "PYTHONHOME") if environ.pop(name)]
    given = foreign_environment(foreign_cuda)
    words = ["env", *(f"{name}={given[name]}" for name in names), str(runtime.program), "exec"]
    # --nv puts the driver's libraries into the container; where there is none it changes nothing.
    options = [*runtime.exec_options(image.path), "--nv", *home(foreign_cuda)]
    check = ["python3", "/opt/bundle/check_pins.py", "/opt/bundle/lock.json"]
    table = run([*words, *options, str(image.path), *check], env=environ).stdout
    assert len(table.splitlines()) == 1 + len(cuda12.lock.probes)
    asked = ["sh", "-c", "command -v nvcc; env"]
    seen = run([*words, *options, str(image.path), *asked], env=environ).stdout.splitlines()
    variables = dict(line.partition("=")[::2] for line in seen)
    assert variables["CUDA_PATH"] == f"{SITE}/nvidia/cuda_runtime"
    assert variables["LD_LIBRARY_PATH"] == "/.singularity.d/libs"
    assert (variables["CUPY_ACCELERATORS"], variables["CUPY_TF32"]) == ("cub", "0")
    assert variables["CUPY_CUDA_COMPILE_WITH_DEBUG"] == "0"
    assert variables["CUPY_DEFAULT_PRECISION"] == "64"
    telling = {name for name, value in variables.items() if str(foreign_cuda) in value}
    assert telling <= {"HOME", "APPTAINER_BIND", "SINGULARITY_BIND", "USER_PATH"}


@pytest.mark.parametrize(
    ("name", "probe"),
    [
        ("CUDA_PATH", "CUDA headers and nvcc"),
        ("LD_LIBRARY_PATH", "cuDNN's parts"),
        ("NVCC", "CUDA headers and nvcc"),
        ("PYTHONPATH", "CuPy"),
    ],
)
def test_the_probes_would_notice(
    image: Image, runtime: Runtime, foreign_cuda: Path, name: str, probe: str
) -> None:
    """What --env sets comes after the image's own environment."""
    given = ["--env", f"{name}={foreign_environment(foreign_cuda)[name]}"]
    with pytest.raises(CommandFailed) as caught:
        probed(image, runtime, [*home(foreign_cuda), *given], dict(os.environ))
    assert f"pin differs: {probe}: " in caught.value.stderr_tail


def test_licences_travel_with_the_image(image: Image, cuda12: Recipe, runtime: Runtime) -> None:
    """Each wheel's own text lies where its wheel put it, NVIDIA's with the terms in it."""
    files = [file for file in cuda12.lock.python_for("image") if file.kind == "wheel"]
    find = 'cd "$1" && find *.dist-info -iname "licen[cs]e*" -type f'
    listed = runtime.execute(image.path, ["sh", "-c", find, "sh", SITE]).stdout.splitlines()
    folders = {path.split("/")[0].lower().replace("-", "_") for path in listed}
    for file in files:
        name = file.name.lower().replace("-", "_")
        assert f"{name}_{file.version}.dist_info" in folders, file.name
    for name, title in (("cublas", "End User License"), ("cudnn", "LICENSE AGREEMENT")):
        (path,) = [path for path in listed if path.startswith(f"nvidia_{name}")]
        text = runtime.execute(image.path, ["cat", f"{SITE}/{path}"]).stdout
        assert text.startswith(title)
    licences = {
        part["name"]: part["licenses"][0]["license"]
        for part in json.loads(read_sif_object(image.path, SBOM))["components"]
        if "licenses" in part
    }
    # NVIDIA's headers, which are in its wheel for older CUDA and are not MIT, are left out.
    assert licences["cupy-cuda12x"] == {"id": "MIT"}
    search = ["find", f"{SITE}/cupy", "-name", "cuda_fp16*"]
    assert runtime.execute(image.path, search).stdout == ""
    assert licences["nvidia-curand-cu12"] == {"name": "NVIDIA CUDA Toolkit EULA"}


def test_the_command_for_all_licences_leaves_none_out(
    image: Image, runtime: Runtime, project: Path, tmp_path: Path
) -> None:
    """As docs/image.md prints it, with its folder already bound."""
    page = (project / "docs/image.md").read_text(encoding="utf-8")
    command = page.split("IMAGE sh -c '", 1)[1].split("'\n", 1)[0]
    bound = ["--bind", f"{tmp_path}:/mnt"]
    runtime.execute(image.path, ["sh", "-c", command], bound)
    common = {path.name for path in (tmp_path / "usr/share/common-licenses").iterdir()}
    assert {"Apache-2.0", "BSD", "GPL-2", "GPL-3", "LGPL-2.1"} < common
    copied = {
        path.relative_to(tmp_path / SITE[1:])
        for path in tmp_path.rglob("[Ll]icense*")
        if SITE[1:] in str(path)
    }
    assert Path("nvidia_cudnn_cu12-8.9.7.29.dist-info/License.txt") in copied
    copyrights = "find /usr/share/doc -name copyright | wc -l"
    counted = runtime.execute(image.path, ["sh", "-c", copyrights]).stdout
    assert len(list(tmp_path.glob("usr/share/doc/*/copyright"))) == int(counted) > 50


def test_another_user_elsewhere_gets_the_same_image(
    image: Image,
    cuda12: Recipe,
    shared_cache: Cache,
    runtime: Runtime,
    project: Path,
    public_folder: Path,
) -> None:
    """Another folder, cache, day, umask, time zone; as an ordinary user when we are root."""
    if shutil.disk_usage(public_folder).free < ROOM:
        pytest.skip(f"{public_folder} has less than {ROOM / 1e9:.0f} GB free")
    copy = public_folder / "copied project"
    ignore = shutil.ignore_patterns("__pycache__")
    for package in ("container", "manifests"):
        shutil.copytree(project / package, copy / package, ignore=ignore)
    cache = Cache(public_folder / "cache")
    fill(cache, Store(shared_cache.store), cuda12)
    program = public_program(runtime, project, public_folder)
    driver = Driver(public_folder, copy, cuda12, cache, program)
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(public_folder),
        "PYTHONDONTWRITEBYTECODE": "1",
        "SOURCE_DATE_EPOCH": "1",
        "TZ": "Asia/Tokyo",
    }
    prefix, python = other_user(public_folder, environ)
    done = run(driver.argv(*prefix, python=python), cwd=public_folder, env=environ, timeout=1800)
    sha256, fresh, path = last_line(done.stdout)
    assert fresh
    assert path.startswith(str(public_folder))
    assert sha256 == image.sha256 == image_digest(image.path)
