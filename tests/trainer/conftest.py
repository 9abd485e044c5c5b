"""Run directories made by hand from the schema's models, with a few small JPEG files."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import types
import warnings
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List

import numpy as np
import pytest
from PIL import Image

from container.progress import Silent
from jobtemplates.one_host import mpirun_here
from manifests.datasets.pack import pack
from manifests.record import schema
from manifests.record.run_files import RunFiles
from tests.trainer.image import (
    GPU_STACK,
    IN_IMAGE,
    PROJECT,
    capabilities,
    capabilities_here,
    image_python,
)

if TYPE_CHECKING:
    from tests.trainer.checkpointed_run import CheckpointedRun

#: These are tests of image code. Whole runs start from the host, each rank in the image, as in a
#: job, and kernels are tested where a C compiler may be; the others need the image's own Python
#: (tests/integration/test_trainer_in_image.py).
FROM_THE_HOST = (
    "test_emulated.py",
    "test_prefetch.py",
    "test_gpu_kernels.py",
    "test_gpu_reductions.py",
    "test_hosting.py",
    "test_mpi_runs.py",
    "test_normalization.py",
    "test_rank_ends.py",
    "test_resume_runs.py",
    "test_slice_runs.py",
    "test_starting_on_gpus.py",
    "test_step_trace.py",
    "test_update_kernels.py",
    "test_whole_runs_on_gpu.py",
)
_here = Path(__file__).parent
collect_ignore = [
    path.name for path in _here.glob("test_*.py") if not IN_IMAGE and path.name not in FROM_THE_HOST
]

if importlib.util.find_spec("simplejpeg") is None:
    # `data pack` is host code: in the image it does without what tells damaged JPEG files.
    def _refuse(*_: Any, **__: Any) -> None:
        raise ValueError("not here")

    _absent = types.ModuleType("simplejpeg")
    _absent.__dict__.update(decode_jpeg=_refuse, decode_jpeg_header=_refuse)
    sys.modules["simplejpeg"] = _absent

NAMES = ["plain.jpg", 'a b/"c".jpg', "dé'f.jpg"]


@cache
def code_files() -> Dict[str, Any]:
    """What the ranks of a test execute: the identity names it."""
    found: Dict[str, Any] = {}
    for path in sorted([*PROJECT.glob("trainer/**/*.py"), *PROJECT.glob("manifests/**/*.py")]):
        data = path.read_bytes()
        found[path.relative_to(PROJECT).as_posix()] = {
            "sha256": hashlib.sha256(data).hexdigest(),
            "size": len(data),
        }
    return found


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "mpi: starts ranks with mpirun")
    if IN_IMAGE:
        # Importing Chainer 7.8.1 goes by way of numpy.distutils and pkg_resources, which warn of
        # their end; what Chainer warns of afterwards is still an error.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module("chainer")


def pytest_collection_modifyitems(items: List[pytest.Item]) -> None:
    for item in items:
        reason = lacking(item) if _here in item.path.parents else ""
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))


def lacking(item: pytest.Item) -> str:
    """Why a test cannot run here. From the host, too, ranks on GPUs start, each in the image."""
    ranks = item.get_closest_marker("mpi") is not None
    if ranks and shutil.which("mpirun") is None:
        return "there is no mpirun here: start it from the host (docs/gpu.md)"
    if item.get_closest_marker("gpu") is None or (capabilities() if ranks else capabilities_here()):
        return ""
    if not IN_IMAGE and capabilities():
        return "this Python has no CuPy: run it in the image (docs/gpu.md)"
    return "there is no GPU that CuPy can use here"


def make_pixels(seed: int, shape: tuple[int, ...]) -> Any:
    """Smooth noise: JPEG changes it little, and no two images are alike."""
    coarse = np.random.Generator(np.random.Philox(seed)).integers(0, 256, (8, 8, 3), np.uint8)
    image = Image.fromarray(coarse).resize(shape[:2], Image.Resampling.BICUBIC)
    return np.asarray(image)


@dataclass
class Case:
    """A run directory and the image folders beside it."""

    root: Path
    manifest: Dict[str, Any]
    train: List[str] = field(default_factory=list)

    @property
    def files(self) -> RunFiles:
        return RunFiles(self.root / "run")

    @property
    def train_root(self) -> Path:
        return self.root / "train"

    @property
    def val_root(self) -> Path:
        return self.root / "val"

    @property
    def train_pack(self) -> Path:
        return self.root / "train.pack"

    @property
    def val_pack(self) -> Path:
        return self.root / "val.pack"

    def arguments(self) -> List[str]:
        places = ("train_root", "val_root", "train_pack", "val_pack")
        given = ["--run", str(self.files.root)]
        for name in places:
            given += [f"--{name.replace('_', '-')}", str(getattr(self, name))]
        return given

    def pack(self) -> None:
        """Make the packed files of both sets from the images as they are now."""
        for table, root, target in (
            (self.files.train_table, self.train_root, self.train_pack),
            (self.files.val_table, self.val_root, self.val_pack),
        ):
            rows = [line.split("\t", 2) for line in table.read_text("utf-8").splitlines()]
            listed = self.root / f"{table.stem}.txt"
            listed.write_text("".join(f"{path} {label}\n" for _, label, path in rows), "utf-8")
            pack(listed, root, target, progress=Silent())

    def seal(self) -> None:
        """Write the manifest with the digests of the inputs as they are now."""
        data = self.manifest["identity"]["data"]
        for name, table in (("train", self.files.train_table), ("val", self.files.val_table)):
            text = table.read_bytes()
            data[name] = {"sha256": sha256(table), "samples": text.count(b"\n")}
        data["mean"] = {
            "sha256": sha256(self.files.mean),
            "shape": [3, 256, 256],
            "dtype": "float32",
        }
        if self.files.initmodel.exists():
            data["initmodel"] = sha256(self.files.initmodel)
        identity = schema.Identity.model_validate(self.manifest["identity"])
        self.manifest["identity_digest"] = identity.digest()
        manifest = schema.Manifest.model_validate(self.manifest)
        self.files.manifest.write_text(json.dumps(manifest.model_dump(mode="json")))

    def environment(self) -> Dict[str, str]:
        knobs = self.manifest["identity"]["determinism"]["environment"]
        path = os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")]))
        return {**os.environ, **knobs, "PYTHONPATH": path}

    def launch(self, ranks: int = 2, **environment: str) -> subprocess.CompletedProcess[str]:
        with self.start(ranks, **environment) as process:
            output, errors = process.communicate(timeout=900)
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)

    def start(self, ranks: int = 2, **environment: str) -> subprocess.Popen[str]:
        """Start the ranks and do not wait for them."""
        stack = GPU_STACK if self.manifest["promises"].get("gpu") else "cpu"
        command = [*image_python(self.root, stack), "-m", "trainer", *self.arguments()]
        mca = self.manifest["identity"]["determinism"]["mca"]
        argv = [*mpirun_words(ranks, mca), *command]
        pipe = subprocess.PIPE
        env = {**self.environment(), **environment}
        return subprocess.Popen(argv, env=env, stdout=pipe, stderr=pipe, text=True)


def mpirun(
    command: List[str],
    ranks: int,
    mca: Dict[str, str],
    environment: Dict[str, str],
    seconds: float = 900,
) -> subprocess.CompletedProcess[str]:
    argv = [*mpirun_words(ranks, mca), *command]
    return subprocess.run(
        argv, env=environment, capture_output=True, text=True, timeout=seconds, check=False
    )


def mpirun_words(ranks: int, mca: Dict[str, str]) -> List[str]:
    # Ranks in sibling user namespaces may not read each other's memory.
    apart = {"btl_vader_single_copy_mechanism": "none", "pml": "ob1"}
    return mpirun_here(ranks, {**apart, **mca}, as_root=os.geteuid() == 0)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


MCA = {
    "coll": "basic,libnbc,self,inter,tuned",
    "coll_tuned_use_dynamic_rules": "1",
    "coll_tuned_allreduce_algorithm": "3",
}


@pytest.fixture
def fixed_mca() -> Dict[str, str]:
    return dict(MCA)


@pytest.fixture
def launch_ranks() -> Callable[..., subprocess.CompletedProcess[str]]:
    return mpirun


@pytest.fixture
def python_for() -> Callable[..., List[str]]:
    """The words that start the image's Python with a folder in sight; of stack cpu unless named."""
    return image_python


@pytest.fixture
def make_case(tmp_path: Path) -> Callable[..., Case]:
    return case_maker(tmp_path)


def case_maker(folder: Path) -> Callable[..., Case]:
    """Make a run of NiN at 67 pixels on 10 training and 5 validation images.

    Keyword arguments replace fields of Training; ``loading`` and ``observing`` those records. With
    loadtype ``custom`` the images are packed.
    """

    def make(name: str = "case", **changes: Any) -> Case:
        root = folder / name
        loading = changes.pop("loading", {"iterator": "serial"})
        observing = changes.pop("observing", {"trail_interval": 2})
        case = Case(root, plain_manifest(changes, loading, observing))
        case.files.inputs.mkdir(parents=True)
        case.train = write_set(case.files.train_table, case.train_root, 10, 0)
        write_set(case.files.val_table, case.val_root, 5, 1000)
        mean = np.full((3, 256, 256), 128, np.float32)
        mean[:, :, :128] -= 16
        np.save(case.files.mean, mean)
        case.seal()
        if loading.get("loadtype") == "custom":
            case.pack()
        return case

    return make


def write_set(table: Path, root: Path, count: int, seed: int) -> List[str]:
    names = [NAMES[k] if k < len(NAMES) else f"{k:03d}.jpg" for k in range(count)]
    lines = []
    for k, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(make_pixels(seed + k, (256, 256, 3))).save(path, quality=90)
        lines.append(f"{sha256(path)}\t{k % 8}\t{name}\n")
    table.write_text("".join(lines), encoding="utf-8")
    return names


def plain_manifest(
    training: Dict[str, Any], loading: Dict[str, Any], observing: Dict[str, Any]
) -> Dict[str, Any]:
    zeros = "0" * 64
    return {
        "identity": {
            "training": {
                "arch": "nin",
                "nclasses": 8,
                "insize": 67,
                "epochs": 2,
                "batchsize": 2,
                "val_batchsize": 2,
                "optimizer": {"name": "momentum_sgd", "lr": 0.01},
                "communicator": "naive",
                "precision": "float32",
                "seed": 7,
                **training,
            },
            "code": {"digest": zeros, "files": code_files()},
            "image": {
                "stack": "cpu",
                "sha256": zeros,
                "size": 1,
                "lock_sha256": zeros,
                "recipe_sha256": zeros,
            },
            "data": {},
            "world": {"ranks": 2, "nodes": 1},
            "determinism": {
                "environment": {
                    "OPENBLAS_CORETYPE": "Haswell",
                    "OPENBLAS_NUM_THREADS": "1",
                    "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512_SKX",
                },
                "mca": dict(MCA),
            },
        },
        "circumstance": {
            "created": "2026-01-01T00:00:00Z",
            "host": "here",
            "user": "me",
            "tool_version": "0",
            "paths": {"image": "i", "train_root": "t", "val_root": "v", "out": "o"},
            "placement": {"site": "local", "jobname": "job"},
            "loading": loading,
            "observing": observing,
        },
        "promises": {"cpu_features": ["avx2", "fma"]},
        "recipe": {"stack": "cpu", "files": {}},
    }


@pytest.fixture
def make_run(make_case: Any) -> Iterator[Callable[..., CheckpointedRun]]:
    from tests.trainer.checkpointed_run import CheckpointedRun  # imports Chainer: in the image only

    made: List[CheckpointedRun] = []

    def make(**changes: Any) -> CheckpointedRun:
        made.append(CheckpointedRun(make_case(), **changes))
        return made[-1]

    yield make
    for run in made:
        for lines in (*run.trails, run.log):
            lines.close()


@pytest.fixture
def run(make_run: Callable[..., CheckpointedRun]) -> CheckpointedRun:
    return make_run()
