"""The command line called from outside, with a cache of the test's own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, Iterator

import pytest

from jobtemplates.local import read_process
from manifests.record.run_files import RunFiles
from manifests.rundir.job import Job

LivingJob = Callable[[RunFiles], None]

PROJECT = Path(__file__).resolve().parents[4]


@dataclass
class CommandLine:
    """``folder`` is where it is called; runs below ``folder/out`` are known as submitted."""

    folder: Path
    environment: Dict[str, str] = field(default_factory=dict)

    def know(self, *outs: Path) -> None:
        notes = self.folder / "cache" / "outs"
        notes.mkdir(parents=True, exist_ok=True)
        for number, out in enumerate(outs):
            (notes / f"{number:016x}").write_text(f"{out}\n")

    def __call__(self, *arguments: Any, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-X", "utf8", str(PROJECT / "bundle.py"), *map(str, arguments)],
            cwd=self.folder,
            env={
                **os.environ,
                "BUNDLE_CACHE": str(self.folder / "cache"),
                "TZ": "Asia/Tokyo",
                **self.environment,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        return done


@pytest.fixture
def bundle(tmp_path: Path) -> CommandLine:
    line = CommandLine(tmp_path)
    line.know(tmp_path / "out")
    return line


@pytest.fixture
def living_job() -> Iterator[LivingJob]:
    """Gives runs a job of site local that does nothing and lives until the test ends."""
    sleeper = subprocess.Popen(["sleep", "600"], start_new_session=True)

    def write_job(files: RunFiles) -> None:
        process = read_process(sleeper.pid)
        assert process is not None
        job = Job(
            backend="local",
            id=f"{process.pid}.{process.started}",
            host=socket.gethostname(),
            submitted="2026-01-31T23:59:58Z",
        )
        files.job.write_text(job.model_dump_json())

    yield write_job
    sleeper.kill()
    sleeper.wait()
