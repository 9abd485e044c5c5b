"""Job scripts and the scheduler's warning: it comes to all processes, and ends no job."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from jobtemplates.script import render_script
from jobtemplates.supervisor import catches
from tests.jobtemplates.heeded import HEEDED
from tests.jobtemplates.test_script import ROOT, SITE, Stage
from tests.waiting import PATIENCE, wait_until

#: Stands for mpirun: TURNS says what each start of it does.
RANKS = f"""\
#!/usr/bin/env python3
import json, os, signal, sys, time
{HEEDED}
if "--version" in sys.argv:
    sys.exit(print("mpirun (Open MPI) 4.1.4"))
if sys.argv[-1] == "true":  # what it has to say for itself where ranks did not start
    sys.exit()
turns = json.loads(os.environ["TURNS"])
number = len(open("starts").read()) if os.path.exists("starts") else 0
ignored = signal.getsignal(signal.SIGUSR2) is signal.SIG_IGN
open("starts", "a").write("x" if ignored else "!")
turn = turns[min(number, len(turns) - 1)]
if turn == "die":  # as a rank that had no handler yet
    os.kill(os.getppid(), signal.SIGUSR2)
    heeded()
    signal.signal(signal.SIGUSR2, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGUSR2)
if turn == "die unwarned":
    signal.signal(signal.SIGUSR2, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGUSR2)
if turn == "fail":
    os.kill(os.getppid(), signal.SIGUSR2)
    open("failure.json", "w").write('{{"exit_code": 2}}')
    sys.exit(2)
if turn == "fail at that very moment":
    open("failure.json", "w").write('{{"exit_code": 2,\\n "kind": "failure"}}')
    os.kill(os.getppid(), signal.SIGUSR2)
    os._exit(2)
if turn == "cancel":
    os.kill(os.getppid(), signal.SIGUSR2)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.kill(os.getppid(), signal.SIGTERM)
    time.sleep(60)
def warned(*_):
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # as the trainer at its end
    open("stopped.json", "w").write("{{}}")
    time.sleep(0.2)
    os._exit(0)
signal.signal(signal.SIGUSR2, warned)
open("ready", "w").close()
time.sleep(60)
"""

#: A command of the job's beginning, during which the warning comes to the whole process group.
DURING = """\
#!/bin/bash
kill -USR2 0
sleep 0.2
exec {command} "$@"
"""


class Warnings(Stage):
    def __init__(self, tmp_path: Path, *turns: str) -> None:
        super().__init__(tmp_path)
        self.tools = tmp_path / "tools"
        self.program("mpirun", RANKS)
        self.environment["TURNS"] = json.dumps(turns)

    def program(self, name: str, text: str) -> None:
        (self.tools / name).write_text(text)
        (self.tools / name).chmod(0o755)

    def start(self) -> subprocess.Popen[bytes]:
        script = render_script(self.manifest(), self.files, SITE, ROOT)
        self.files.job_script.write_text(script)
        return subprocess.Popen(
            ["bash", str(self.files.job_script)],
            env=self.environment, cwd=self.folder, start_new_session=True,
        )  # fmt: skip

    def code(self) -> int:
        process = self.start()
        try:
            return process.wait(PATIENCE)
        finally:
            process.kill()

    @property
    def starts(self) -> str:
        return (self.files.root / "starts").read_text()


def test_a_warning_that_ends_the_ranks_before_they_are_ready(tmp_path: Path) -> None:
    stage = Warnings(tmp_path, "die", "stop")
    assert stage.code() == 75
    # They began anew, were told when they were ready, and whatever starts them minds no warning.
    assert stage.starts == "xx"
    assert stage.files.exit_code.read_text() == "75\n"
    assert not stage.files.ready.exists()


def test_ranks_begin_anew_once_only(tmp_path: Path) -> None:
    stage = Warnings(tmp_path, "die", "die")
    assert stage.code() == 128 + signal.SIGUSR2
    assert stage.starts == "xx"
    assert not stage.files.exit_code.exists()  # a follow-up job goes on


def test_the_code_of_ranks_that_fail_at_that_very_moment(tmp_path: Path) -> None:
    """Bash loses how they ended, now and then; what they left tells."""
    for number in range(10):
        (tmp_path / str(number)).mkdir()
        stage = Warnings(tmp_path / str(number), "fail at that very moment")
        assert stage.code() == 2, number
        assert stage.files.exit_code.read_text() == "2\n"
        assert stage.stderr() == ""


@pytest.mark.parametrize(("turn", "code"), [("die unwarned", 140), ("fail", 2)])
def test_ranks_that_ended_otherwise_do_not_begin_anew(tmp_path: Path, turn: str, code: int) -> None:
    stage = Warnings(tmp_path, turn, "stop")
    assert stage.code() == code
    assert stage.starts == "x"
    assert stage.files.exit_code.exists() == (turn == "fail")


def test_a_job_that_is_ended_from_outside_leaves_no_code(tmp_path: Path) -> None:
    """As at a scheduler's limit: with a code the follow-up jobs would take the run for failed."""
    stage = Warnings(tmp_path, "cancel", "stop")
    assert stage.code() == 143
    assert stage.starts == "x"
    assert not stage.files.exit_code.exists()
    assert not stage.files.ready.exists()


@pytest.mark.parametrize("command", ["sha256sum", "cut", "mkdir", "rm"])
def test_a_warning_while_the_job_begins(tmp_path: Path, command: str) -> None:
    stage = Warnings(tmp_path, "stop")
    real = subprocess.run(
        ["which", command], capture_output=True, text=True, check=True
    ).stdout.strip()
    stage.program(command, DURING.format(command=real))
    assert stage.code() == 75
    assert stage.starts == "x"
    assert stage.stderr() == ""


def test_a_warning_at_any_moment(tmp_path: Path) -> None:
    """To the whole process group, from the time when bash has got to its first line."""
    for number in range(12):
        (tmp_path / str(number)).mkdir()
        stage = Warnings(tmp_path / str(number), "stop")
        process = stage.start()
        try:
            wait_until(lambda pid=process.pid: catches(pid, signal.SIGUSR2))  # type: ignore[misc]
            time.sleep(0.02 * number)
            os.killpg(process.pid, signal.SIGUSR2)
            assert process.wait(PATIENCE) == 75, number
        finally:
            process.kill()
        assert stage.files.exit_code.read_text() == "75\n"
