"""The backend without a scheduler, with real processes."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from jobtemplates import local
from manifests.record.run_files import RunFiles


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


@pytest.mark.parametrize(
    ("end", "turns"),
    [
        ("echo 137 > interrupted; exit 137", 3),  # its ranks were ended from outside
        ("kill -KILL $$", 3),
        ("exit 137", 1),
        ("echo 1 > exit_code; exit 1", 1),
        ("exit 127", 1),
    ],
)
def test_a_chain_goes_on_after_an_end_from_outside(tmp_path: Path, end: str, turns: int) -> None:
    script = f"rm -f interrupted\necho x >> turns\n[ $(wc -l < turns) -ge 3 ] && exit 0\n{end}\n"
    files = prepared(tmp_path, script)
    assert ended(files, local.start(files, os.environ, 9)).count("x") == turns


def test_a_chain_that_is_cancelled_does_not_go_on(tmp_path: Path) -> None:
    files = prepared(
        tmp_path,
        "echo x >> turns\ntrap 'echo 143 > interrupted; exit 143' TERM\necho up > up\n"
        "sleep 60 & wait\n",
    )
    job = local.start(files, os.environ, 9)
    wait_for_file(files.root / "up")
    assert local.cancel(job, grace=5) is True
    assert ended(files, job) == "x\n"


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


def wait_for_file(path: Path, seconds: float = 10) -> str:
    deadline = time.monotonic() + seconds
    while not (path.exists() and path.read_text().endswith("\n")):
        assert time.monotonic() < deadline, path
        time.sleep(0.01)
    return path.read_text().strip()


def gone(pid: int, seconds: float = 15) -> bool:
    deadline = time.monotonic() + seconds
    while local.read_process(pid) is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def test_a_job_ends_with_all_of_its_processes(tmp_path: Path) -> None:
    """What left the session, has lost its parent, or does not listen to TERM."""
    files = prepared(
        tmp_path,
        "(setsid -f sh -c 'echo $$ > session; exec sleep 60')\n"
        "(sh -c 'echo $$ > orphan; exec sleep 60' &)\n"
        "(bash -c 'trap \"\" TERM; echo $$ > deaf; while :; do sleep 60; done' &)\n"
        "while [ ! -s session ] || [ ! -s orphan ] || [ ! -s deaf ]; do sleep 0.01; done\n"
        "echo 4 > exit_code; exit 4\n",
    )
    job = local.start(files, os.environ)
    wait_for_file(files.exit_code)
    assert local.wait_until_gone(job, 15)
    for name in ("session", "orphan", "deaf"):
        assert gone(int((files.root / name).read_text()), 0.0), name


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_a_signal_to_the_first_process_ends_the_job(tmp_path: Path, number: int) -> None:
    files = prepared(
        tmp_path,
        "trap 'echo asked > asked; exit 143' TERM INT HUP\n"
        "sleep 60 & echo $BUNDLE_JOB > leader; wait\n",
    )
    before = signal.signal(
        signal.SIGHUP, signal.SIG_DFL
    )  # it may be ignored, and that is inherited
    job = local.start(files, os.environ)
    signal.signal(signal.SIGHUP, before)
    leader = wait_for_file(files.root / "leader")
    assert leader == job.partition(".")[0]
    os.kill(int(leader), number)
    assert wait_for_file(files.root / "asked") == "asked"
    if number != signal.SIGKILL:  # then nobody is left who could end what the script left
        assert local.wait_until_gone(job, 15)
    local.cancel(job, grace=0.2)


def test_a_helper_that_mounted_an_image_is_not_the_job(tmp_path: Path) -> None:
    """It is what is left where all others are killed at once."""
    files = prepared(
        tmp_path,
        "./squashfuse_ll 60 & echo $! > helper\n./squashfuse_ll 60 & echo $! > other; wait\n",
    )
    shutil.copy(str(shutil.which("sleep")), files.root / "squashfuse_ll")
    job = local.start(files, os.environ)
    helper = int(wait_for_file(files.root / "helper"))
    other = int(wait_for_file(files.root / "other"))
    assert local.is_alive(job)
    local.end_helpers(job)
    for process in local.session_of(job):
        if process.pid not in (helper, other):
            os.kill(process.pid, signal.SIGKILL)
    assert local.wait_until_gone(job, 5)
    assert local.read_process(helper) is not None
    assert local.cancel(job) is False
    assert gone(helper) and gone(other)
    local.end_helpers(job)


def test_helpers_are_ended_before_the_next_start(tmp_path: Path) -> None:
    files = prepared(tmp_path, "./squashfuse_ll 60 & echo $! > helper; wait\n")
    shutil.copy(str(shutil.which("sleep")), files.root / "squashfuse_ll")
    job = local.start(files, os.environ)
    helper = int(wait_for_file(files.root / "helper"))
    local.end_helpers(job)
    assert not gone(helper, 0.2)
    for process in local.session_of(job):
        if process.pid != helper:
            os.kill(process.pid, signal.SIGKILL)
    assert local.wait_until_gone(job, 5)
    local.end_helpers(job)
    assert gone(helper)


def test_a_warning_waits_until_the_script_takes_it(tmp_path: Path) -> None:
    script = "touch begun; sleep 1\ntrap 'echo warned > said; exit 0' USR2\nsleep 60 & wait\n"
    files = prepared(tmp_path, script)
    job = local.start(files, os.environ)
    deadline = time.monotonic() + 10
    while not (files.root / "begun").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(int(job.partition(".")[0]), signal.SIGUSR2)
    assert wait_for_file(files.root / "said") == "warned"
    assert local.wait_until_gone(job, 15)


def test_a_chain_that_is_cancelled_is_over_whatever_its_script_says(tmp_path: Path) -> None:
    script = "trap 'exit 75' TERM\necho x >> turns\nsleep 60 & wait\n"
    files = prepared(tmp_path, script)
    job = local.start(files, os.environ, 5)
    wait_for_file(files.root / "turns")
    assert local.cancel(job) is True
    assert not local.is_alive(job)
    assert (files.root / "turns").read_text() == "x\n"
