"""A bench for whole runs: the real image, the real mpirun, a small real data set, from outside."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional

import numpy as np
import pytest
from PIL import Image

from tests.progress_lines import without_progress

PROJECT = Path(__file__).resolve().parents[2]

CLASSES = 2


def make_images(folder: Path, *, train: int = 24, val: int = 6) -> None:
    """Two classes of 256x256 JPEG files, list files, a mean image; the same bytes every time."""
    generator = np.random.Generator(np.random.Philox(key=[1, 2]))
    for name, count in (("train", train), ("val", val)):
        lines = []
        for number in range(count):
            label = number % CLASSES
            path = folder / name / f"{label} it's" / f'image "{number}".jpg'
            path.parent.mkdir(parents=True, exist_ok=True)
            coarse = generator.integers(0, 256, (8, 8, 3)).astype(np.uint8)
            Image.fromarray(coarse).resize((256, 256)).save(path, quality=90)
            lines.append(f"{path.relative_to(folder / name)} {label}\n")
        (folder / f"{name}.txt").write_text("".join(lines))
    np.save(folder / "mean.npy", np.full((3, 256, 256), 120, np.float32))


@dataclass
class Bench:
    """A folder with data and configs, and a project whose command line is called."""

    root: Path
    project: Path = PROJECT
    environment: Dict[str, str] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def out(self) -> Path:
        return self.root / "runs"

    def config(self, name: str = "config", **changes: Any) -> Path:
        values = {
            "stack": "cpu",
            "ranks_per_node": 2,
            "arch": "nin",
            "nclasses": CLASSES,
            "insize": 67,
            "epoch": 1,
            "batchsize": 4,
            "iterator": "serial",
            "trail_interval": 1,
            "train": str(self.data / "train.txt"),
            "train_root": str(self.data / "train"),
            "val": str(self.data / "val.txt"),
            "val_root": str(self.data / "val"),
            "mean.npy": str(self.data / "mean.npy"),
            "out": str(self.out),
            **changes,
        }
        path = self.root / f"{name}.json"
        path.write_text(json.dumps({key: value for key, value in values.items() if value != ""}))
        return path

    def bundle(
        self, *arguments: str | Path, code: Optional[int] = 0, prefix: List[str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run the command line; ``code`` is the expected exit code, None for any."""
        done = subprocess.run(
            [
                *(prefix or []),
                sys.executable,
                str(self.project / "bundle.py"),
                *map(str, arguments),
            ],
            env={**os.environ, **self.environment},
            cwd=self.root,
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )
        assert "Traceback" not in done.stderr, done.stderr
        if code is not None:
            assert done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def submit(self, config: Path) -> Path:
        """Run a config to its end; return the run directory."""
        done = self.bundle("submit", "--wait", config)
        return Path(done.stdout.splitlines()[0].partition("run  ")[2])


def complaints(run: Path) -> str:
    """What the ranks and the job script said on standard error."""
    text = (run / "logs" / "stderr.log").read_text(encoding="utf-8")
    return without_progress(text)


def clone_project(target: Path) -> Path:
    """A copy of the project's code with its environment and tools linked, to be edited freely."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (PROJECT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, target / name)
    for name in (".venv", ".tools"):
        if (PROJECT / name).exists():
            (target / name).symlink_to(PROJECT / name)
    quiet = {"cwd": target, "check": True, "capture_output": True}
    subprocess.run(["git", "init", "-q"], **quiet)  # type: ignore[call-overload]
    subprocess.run(["git", "add", "-A"], **quiet)  # type: ignore[call-overload]
    author = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", *author, "commit", "-qm", "x"], **quiet)  # type: ignore[call-overload]
    return target


@pytest.fixture(scope="session")
def image() -> str:
    """The cpu image, built once for all tests; its sha256."""
    done = subprocess.run(
        [sys.executable, str(PROJECT / "bundle.py"), "build", "--stack", "cpu", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)["sha256"])


@pytest.fixture(scope="session")
def data_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template")
    make_images(folder)
    return folder


@pytest.fixture
def bench(tmp_path: Path, image: str, data_template: Path) -> Bench:
    del image
    root = tmp_path / 'a "bench" of $(one)\'s own'
    shutil.copytree(data_template, root / "data")
    return Bench(root)


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory, image: str, data_template: Path
) -> tuple[Bench, Path]:
    """One run that ended well, shared by tests that only read it or copy it."""
    del image
    root = tmp_path_factory.mktemp("finished") / "it's"
    shutil.copytree(data_template, root / "data")
    bench = Bench(root)
    return bench, bench.submit(bench.config())
