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


@dataclass
class Called:
    stdout: str
    stderr: str


@pytest.fixture
def called(
    bundle: CommandLine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Called]:
    """The same within this process, which is many times faster."""
    from bundle import main
    from manifests.cli.command_line import warn

    def call(*arguments: Any, code: int = 0) -> Called:
        monkeypatch.setenv("BUNDLE_CACHE", str(bundle.folder / "cache"))
        monkeypatch.setenv("TZ", "Asia/Tokyo")
        for name, value in bundle.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(bundle.folder)
        warn.cache_clear()
        capsys.readouterr()
        found = 0
        try:
            main([str(word) for word in arguments])
        except SystemExit as error:
            found = int(error.code or 0)
        done = Called(*capsys.readouterr())
        assert found == code, f"{found}\n{done.stdout}\n{done.stderr}"
        return done

    return call
