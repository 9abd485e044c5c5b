"""The backend without a scheduler, with real processes."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import List

import pytest

from jobtemplates import local
from manifests.record.run_files import RunFiles
from tests.waiting import PATIENCE, wait_until


def prepared(tmp_path: Path, script: str) -> RunFiles:
    files = RunFiles(tmp_path / "run")
    files.logs.mkdir(parents=True)
    files.job_script.write_text(script)
    return files


def test_a_job_runs_in_the_background_to_its_end(tmp_path: Path) -> None:
    files = prepared(tmp_path, "echo hello > hello; exit 3\n")
    job = local.start(files, os.environ)
    assert local.wait_until_gone(job, PATIENCE)
    assert (files.root / "hello").read_text() == "hello\n"
    assert not local.is_alive(job)
    assert local.cancel(job) is False


def test_cancel_ends_the_whole_session_even_when_it_ignores_term(tmp_path: Path) -> None:
    files = prepared(tmp_path, "trap '' TERM\nsleep 600 & echo $! > child\nwait\nwait\n")
    job = local.start(files, os.environ)
    pid = int(wait_for_file(files.root / "child"))
    assert local.is_alive(job)
    assert local.cancel(job, grace=0.2) is True
    assert local.read_process(pid) is None
    assert not local.is_alive(job)


def test_what_is_started_while_a_job_is_killed_is_ended_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = prepared(tmp_path, "trap '' TERM\nsleep 600 & echo $! > child\nwait\nwait\n")
    job = local.start(files, os.environ)
    late = int(wait_for_file(files.root / "child"))
    look, send = local.session_of, local.send
    killed: List[int] = []

    def sending(process: local.Process, number: signal.Signals) -> None:
        send(process, number)
        if number == signal.SIGKILL:
            killed.append(process.pid)

    monkeypatch.setattr(
        local, "session_of", lambda job: [x for x in look(job) if killed or x.pid != late]
    )
    monkeypatch.setattr(local, "send", sending)
    assert local.cancel(job, grace=0.2) is True
    assert look(job) == []


def test_the_supervisor_is_asked_to_end_before_its_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers of processes begin anew when they have reached the greatest."""
    files = prepared(tmp_path, "echo $$ > script; sleep 600 & wait\n")
    job = local.start(files, os.environ, 9)
    leader, script = int(job.partition(".")[0]), int(wait_for_file(files.root / "script"))
    look, send = local.session_of, local.send
    asked: List[int] = []
    monkeypatch.setattr(
        local, "session_of", lambda job: sorted(look(job), key=lambda x: x.pid == leader)
    )
    monkeypatch.setattr(
        local, "send", lambda process, number: (asked.append(process.pid), send(process, number))
    )
    assert local.cancel(job) is True
    assert asked[0] == leader and script in asked


def test_ranks_whose_job_script_was_killed_are_still_the_job(tmp_path: Path) -> None:
    files = prepared(tmp_path, "setsid -f true; sleep 600 & echo $! > child\nwait\n")
    job = local.start(files, os.environ)
    child = int(wait_for_file(files.root / "child"))
    leader = int(job.partition(".")[0])
    os.kill(leader, signal.SIGKILL)
    assert gone(leader)
    assert local.is_alive(job)
    assert local.cancel(job) is True
    assert not local.is_alive(job)
    assert local.read_process(child) is None


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


def ended(files: RunFiles, job: str) -> str:
    assert local.wait_until_gone(job, PATIENCE)
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
        "sleep 600 & wait\n",
    )
    job = local.start(files, os.environ, 9)
    wait_for_file(files.root / "up")
    assert local.cancel(job) is True
    assert ended(files, job) == "x\n"


def test_a_chain_hands_the_warning_on_and_has_one_job_id(tmp_path: Path) -> None:
    files = prepared(
        tmp_path,
        "echo $BUNDLE_JOB >> turns\ntrap 'exit 75' USR2\n[ -e go ] && exit 0\ntouch go\n"
        "sleep 600 & wait\n",
    )
    job = local.start(files, os.environ, 3)
    pid = job.partition(".")[0]
    turns = files.root / "turns"
    wait_until((files.root / "go").exists)
    os.kill(int(pid), signal.SIGUSR2)
    wait_until(lambda: turns.read_text() == f"{pid}\n{pid}\n", turns.read_text)
    local.cancel(job, grace=0.2)  # the first turn's sleep


def wait_for_file(path: Path) -> str:
    wait_until(lambda: path.exists() and path.read_text().endswith("\n"), lambda: path)
    return path.read_text().strip()


def gone(pid: int) -> bool:
    wait_until(lambda: local.read_process(pid) is None, lambda: pid)
    return True


def test_a_job_ends_with_all_of_its_processes(tmp_path: Path) -> None:
    """What left the session, has lost its parent, or does not listen to TERM."""
    files = prepared(
        tmp_path,
        "(setsid -f sh -c 'echo $$ > session; exec sleep 600')\n"
        "(sh -c 'echo $$ > orphan; exec sleep 600' &)\n"
        "(bash -c 'trap \"\" TERM; echo $$ > deaf; while :; do sleep 600; done' &)\n"
        "while [ ! -s session ] || [ ! -s orphan ] || [ ! -s deaf ]; do sleep 0.01; done\n"
        "echo 4 > exit_code; exit 4\n",
    )
    job = local.start(files, os.environ)
    wait_for_file(files.exit_code)
    assert local.wait_until_gone(job, PATIENCE)
    for name in ("session", "orphan", "deaf"):
        assert local.read_process(int((files.root / name).read_text())) is None, name


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_a_signal_to_the_first_process_ends_the_job(tmp_path: Path, number: int) -> None:
    files = prepared(
        tmp_path,
        "trap 'echo asked > asked; exit 143' TERM INT HUP\n"
        "sleep 600 & echo $BUNDLE_JOB > leader; wait\n",
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
        assert local.wait_until_gone(job, PATIENCE)
    local.cancel(job, grace=0.2)


def test_a_helper_that_mounted_an_image_is_not_the_job(tmp_path: Path) -> None:
    """It is what is left where all others are killed at once."""
    files = prepared(
        tmp_path,
        "./squashfuse_ll 600 & echo $! > helper\n./squashfuse_ll 600 & echo $! > other; wait\n",
    )
    shutil.copy(str(shutil.which("sleep")), files.root / "squashfuse_ll")
    job = local.start(files, os.environ)
    helper = int(wait_for_file(files.root / "helper"))
    other = int(wait_for_file(files.root / "other"))
    assert local.is_alive(job)
    local.end_helpers(job)
    for process in local.session_of(job):
        if process.pid not in (helper, other):
            local.send(process, signal.SIGKILL)
    assert local.wait_until_gone(job, PATIENCE)
    assert local.read_process(helper) is not None
    assert local.cancel(job) is False
    assert gone(helper) and gone(other)
    local.end_helpers(job)


def test_helpers_are_ended_before_the_next_start(tmp_path: Path) -> None:
    files = prepared(tmp_path, "./squashfuse_ll 600 & echo $! > helper; wait\n")
    shutil.copy(str(shutil.which("sleep")), files.root / "squashfuse_ll")
    job = local.start(files, os.environ)
    helper = int(wait_for_file(files.root / "helper"))
    local.end_helpers(job)
    for process in local.session_of(job):
        if process.pid != helper:
            local.send(process, signal.SIGKILL)
    assert local.wait_until_gone(job, PATIENCE)
    assert local.read_process(helper) is not None  # it would be gone, had it been asked to end
    local.end_helpers(job)
    assert gone(helper)


def test_a_warning_waits_until_the_script_takes_it(tmp_path: Path) -> None:
    script = "touch begun; sleep 1\ntrap 'echo warned > said; exit 0' USR2\nsleep 600 & wait\n"
    files = prepared(tmp_path, script)
    job = local.start(files, os.environ)
    wait_until((files.root / "begun").exists)
    os.kill(int(job.partition(".")[0]), signal.SIGUSR2)
    assert wait_for_file(files.root / "said") == "warned"
    assert local.wait_until_gone(job, PATIENCE)


def test_a_chain_that_is_cancelled_is_over_whatever_its_script_says(tmp_path: Path) -> None:
    script = "trap 'exit 75' TERM\necho x >> turns\nsleep 600 & wait\n"
    files = prepared(tmp_path, script)
    job = local.start(files, os.environ, 5)
    wait_for_file(files.root / "turns")
    assert local.cancel(job) is True
    assert not local.is_alive(job)
    assert (files.root / "turns").read_text() == "x\n"
