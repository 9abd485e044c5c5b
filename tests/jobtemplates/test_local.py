"""The backend without a scheduler, with real processes."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from jobtemplates import local
from manifests.schema import RunFiles


def prepared(tmp_path: Path, script: str) -> RunFiles:
    files = RunFiles(tmp_path / "run")
    files.logs.mkdir(parents=True)
    files.job_script.write_text(script)
    return files


def test_a_job_runs_in_the_background_to_its_end(tmp_path: Path) -> None:
    files = prepared(tmp_path, "echo hello > hello; exit 3\n")
    job = local.start(files, os.environ)
    deadline = time.monotonic() + 10
    while local.is_alive(job) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (files.root / "hello").read_text() == "hello\n"
    assert not local.is_alive(job)
    assert local.cancel(job) is False


def test_cancel_ends_the_whole_session_even_when_it_ignores_term(tmp_path: Path) -> None:
    files = prepared(tmp_path, "trap '' TERM\nsleep 60 & echo $! > child\nwait\nwait\n")
    job = local.start(files, os.environ)
    child = files.root / "child"
    deadline = time.monotonic() + 10
    while not (child.exists() and child.read_text().strip()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert local.is_alive(job)
    assert local.cancel(job, grace=0.2) is True
    pid = int(child.read_text())
    deadline = time.monotonic() + 10
    while local.read_process(pid) is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert local.read_process(pid) is None
    assert not local.is_alive(job)


def test_ranks_whose_job_script_was_killed_are_still_the_job(tmp_path: Path) -> None:
    files = prepared(tmp_path, "setsid -f true; sleep 60 & echo $! > child\nwait\n")
    job = local.start(files, os.environ)
    child = files.root / "child"
    deadline = time.monotonic() + 10
    while not (child.exists() and child.read_text().strip()) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(int(job.partition(".")[0]), signal.SIGKILL)
    time.sleep(0.2)
    assert local.is_alive(job)
    assert local.cancel(job, grace=5) is True
    assert not local.is_alive(job)
    assert local.read_process(int(child.read_text())) is None


def test_a_pid_that_was_used_again_is_not_our_job() -> None:
    mine = local.read_process(os.getpid())
    assert mine is not None
    assert local.session_of(f"{mine.pid}.{mine.started - 1}") == []
    assert not local.is_alive(f"{mine.pid}.{mine.started - 1}")


def test_only_allow_listed_variables_are_inherited() -> None:
    assert local.inherited(
        {
            "PATH": "/bin",
            "LC_ALL": "C",
            "OMPI_MCA_btl": "self",
            "OMPI_COMM_WORLD_RANK": "3",
            "APPTAINER_BIND": "/evil:/bundle/code",
            "SINGULARITY_TMPDIR": "/scratch",
            "AWS_SECRET_ACCESS_KEY": "no",
        }
    ) == {"PATH": "/bin", "LC_ALL": "C", "OMPI_MCA_btl": "self", "SINGULARITY_TMPDIR": "/scratch"}
