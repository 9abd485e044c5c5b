"""The backend without a scheduler, with real processes."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from jobtemplates import local
from manifests.record.schema import RunFiles


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
    ) == {"PATH": "/bin", "LC_ALL": "C", "SINGULARITY_TMPDIR": "/scratch"}


def ended(files: RunFiles, job: str, seconds: float = 20) -> str:
    deadline = time.monotonic() + seconds
    while local.is_alive(job):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return (files.root / "turns").read_text()


def test_a_chain_goes_on_as_long_as_there_is_work_and_no_longer(tmp_path: Path) -> None:
    script = "echo x >> turns; [ $(wc -l < turns) -ge {} ] && exit {}; exit 75\n"
    for name, end, follow_ups, turns in (
        ("a", (3, 0), 9, 3),
        ("b", (2, 1), 9, 2),
        ("c", (9, 0), 2, 3),
    ):
        files = prepared(tmp_path / name, script.format(*end))
        job = local.start(files, os.environ, follow_ups)
        assert ended(files, job).count("x") == turns


def test_a_chain_hands_the_warning_on_and_has_one_job_id(tmp_path: Path) -> None:
    files = prepared(
        tmp_path,
        "echo $BUNDLE_JOB >> turns\ntrap 'exit 75' USR2\n[ -e go ] && exit 0\ntouch go\n"
        "sleep 60 & wait\n",
    )
    job = local.start(files, os.environ, 3)
    pid = job.partition(".")[0]
    deadline = time.monotonic() + 10
    while not (files.root / "go").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(int(pid), signal.SIGUSR2)
    while (files.root / "turns").read_text() != f"{pid}\n{pid}\n":
        assert time.monotonic() < deadline, (files.root / "turns").read_text()
        time.sleep(0.01)
    local.cancel(job, grace=0.2)  # the first turn's sleep
