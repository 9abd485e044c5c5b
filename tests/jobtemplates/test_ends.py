"""How a job ends when its ranks do: what is a failure of the run, and what came from outside."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any, Dict, Optional

import pytest

from jobtemplates.script import render_script
from manifests.rundir.run_state import interruption
from tests.jobtemplates.heeded import HEEDED
from tests.jobtemplates.test_script import ROOT, SITE, Stage
from tests.waiting import PATIENCE

#: Stands for mpirun: it leaves files, and ends with a status or by a signal.
RANKS = f"""\
#!/usr/bin/env python3
import json, os, signal, sys, time
{HEEDED}
if "--version" in sys.argv:
    print("mpirun (Open MPI) 4.1.4")
    sys.exit()
turn = json.loads(os.environ["TURN"])
open("starts", "a").write("x")
for name in turn["leaves"].split():
    open(name, "w").write("{{}}")
if turn.get("passed_over"):
    os.kill(os.getppid(), turn["passed_over"])
if turn.get("told"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.kill(os.getppid(), turn["told"])
    heeded()
    time.sleep(turn.get("stays", 0))
if turn.get("signal"):
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), turn["signal"])
sys.stderr.write(turn.get("says", ""))
sys.exit(turn.get("status", 0))
"""


#: What mpirun says of a rank that ended with a code of its own.
OPEN_MPI_4 = """\
Primary job  terminated normally, but 1 process returned
a non-zero exit code. Per user-direction, the job has been aborted.
"""
OPEN_MPI_5 = """\
prterun detected that one or more processes exited with non-zero status,
thus causing the job to be terminated.
"""
ABORT = "MPI_ABORT was invoked on rank 1 in communicator MPI_COMM_WORLD\nwith errorcode 2.\n"


class Ends(Stage):
    def __init__(self, tmp_path: Path, leaves: str = "", **turn: Any) -> None:
        super().__init__(tmp_path)
        program = tmp_path / "tools" / "mpirun"
        program.write_text(RANKS)
        program.chmod(0o755)
        self.environment["TURN"] = json.dumps({"leaves": leaves, **turn})
        script = render_script(self.manifest(), self.files, SITE, ROOT)
        self.files.job_script.write_text(script)

    def run_job(self) -> int:
        done = subprocess.run(
            ["bash", str(self.files.job_script)],
            env=self.environment, cwd=self.folder, start_new_session=True, check=False,
            timeout=PATIENCE,
        )  # fmt: skip
        return done.returncode

    def left(self) -> Optional[int]:
        path = self.files.exit_code
        return int(path.read_text()) if path.exists() else None


@pytest.mark.parametrize(
    "profile", ["set -e", "set -eu -o pipefail", "set -Cf", "shopt -s failglob", "IFS=:"]
)
def test_what_the_profile_of_a_login_shell_sets(tmp_path: Path, profile: str) -> None:
    done = Ends(tmp_path, "ready result.json")
    script = done.files.job_script
    script.write_text(f"{profile}\n{script.read_text()}")
    assert (done.run_job(), done.left()) == (0, 0)
    assert done.files.done.exists()


def test_the_word_before_a_suspension_ends_nothing(tmp_path: Path) -> None:
    """Grid Engine sends USR1 to all of a job with -notify, then stops it."""
    done = Ends(tmp_path, "ready result.json", passed_over=int(signal.SIGUSR1))
    assert (done.run_job(), done.left()) == (0, 0)
    assert done.files.done.exists()


SIGNALS = [
    signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGXCPU,
]  # fmt: skip


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("leaves", ["", "ready"])
def test_a_signal_that_somebody_sent_leaves_no_code(
    tmp_path: Path, number: signal.Signals, leaves: str
) -> None:
    stage = Ends(tmp_path, leaves, signal=number)
    assert stage.run_job() == 128 + number
    assert stage.left() is None
    assert not stage.files.ready.exists()
    assert stage.files.interrupted.read_text() == f"{128 + number}\n"
    why = " (often: no memory was left)" if number == signal.SIGKILL else ""
    assert interruption(stage.files) == (
        f"the job was ended from outside: a rank was ended by {number.name}{why}"
    )


@pytest.mark.parametrize("status", [129, 130, 155, 205, 213, 255])
def test_what_a_launcher_says_of_ranks_that_were_up(tmp_path: Path, status: int) -> None:
    """205: Open MPI 4.1 lost a daemon with its ranks."""
    stage = Ends(tmp_path, "ready", status=status)
    assert stage.run_job() == status
    assert stage.left() is None
    if status > 200:
        assert interruption(stage.files) == (
            "the job was ended from outside: its launcher was ended, or lost ranks or a node "
            f"(status {status})"
        )


@pytest.mark.parametrize("status", [1, 2, 129, 130, 132, 205, 213, 255])
def test_what_it_says_of_ranks_that_never_were_up_is_a_failure(tmp_path: Path, status: int) -> None:
    stage = Ends(tmp_path, status=status)
    assert stage.run_job() == stage.left() == status
    assert not stage.files.interrupted.exists()


@pytest.mark.parametrize(
    "turn",
    [
        {"status": 1, "says": OPEN_MPI_4},
        {"status": 2, "says": OPEN_MPI_5},
        {"status": 3, "says": ABORT},
        {"signal": signal.SIGSEGV},
        {"signal": signal.SIGABRT},
        {"signal": signal.SIGBUS},
        {"signal": signal.SIGFPE},
        {"signal": signal.SIGILL},
    ],
)
def test_a_ranks_own_word_is_a_failure(tmp_path: Path, turn: Dict[str, Any]) -> None:
    stage = Ends(tmp_path, "ready", **turn)
    code = turn.get("status") or 128 + turn["signal"]
    assert stage.run_job() == stage.left() == code
    assert not stage.files.interrupted.exists()


def test_mpirun_that_was_ended_says_nothing(tmp_path: Path) -> None:
    """Open MPI 4.1 ends with 1 on TERM; what an earlier job wrote into the log does not count."""
    stage = Ends(tmp_path, "ready", status=1)
    (stage.files.logs / "stderr.log").write_text(OPEN_MPI_4)
    assert stage.run_job() == 1
    assert stage.left() is None
    assert stage.files.interrupted.read_text() == "1\n"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_failure_that_was_written_down_stays_one(tmp_path: Path, number: int) -> None:
    """The launcher ends the other ranks by signals."""
    stage = Ends(tmp_path, "ready failure.json", signal=number)
    assert stage.run_job() == stage.left() == 128 + number


@pytest.mark.parametrize(("leaves", "code"), [("stopped.json", 75), ("result.json", 0)])
@pytest.mark.parametrize("turn", [{"signal": signal.SIGKILL}, {"status": 205}])
def test_what_was_written_whole_before_counts(
    tmp_path: Path, leaves: str, code: int, turn: Dict[str, Any]
) -> None:
    stage = Ends(tmp_path, f"ready {leaves}", **turn)
    assert stage.run_job() == stage.left() == code
    assert stage.files.done.exists() == (code == 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("status", [0, 1, 143])
def test_a_signal_to_the_job_script(tmp_path: Path, number: int, status: int) -> None:
    """Whatever its ranks then end with, and be they up or not."""
    stage = Ends(tmp_path, status=status, told=number)
    assert stage.run_job() == (status or 143)
    assert stage.left() is None


@pytest.mark.parametrize(
    ("leaves", "code", "left"), [("ready", 137, None), ("ready result.json", 0, 0)]
)
def test_an_mpirun_that_does_not_end_after_a_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leaves: str, code: int, left: Optional[int]
) -> None:
    """Open MPI 4.1 was seen to stay for ever when TERM came just as its ranks had ended."""
    monkeypatch.setattr("jobtemplates.script.LAUNCHER_PATIENCE", 1)
    stage = Ends(tmp_path, leaves, told=signal.SIGTERM, stays=600)
    assert (stage.run_job(), stage.left()) == (code, left)
    assert stage.files.done.exists() == stage.files.result.exists()
    assert stage.files.interrupted.exists() == (left is None)


def test_ranks_that_were_up_and_ended_without_a_word(tmp_path: Path) -> None:
    stage = Ends(tmp_path, "ready")
    assert stage.run_job() == 143
    assert stage.left() is None


def test_the_next_job_begins_without_the_mark(tmp_path: Path) -> None:
    stage = Ends(tmp_path, "ready", signal=signal.SIGKILL)
    stage.run_job()
    stage.environment["TURN"] = json.dumps({"leaves": "ready result.json"})
    assert stage.run_job() == stage.left() == 0
    assert not stage.files.interrupted.exists()
    assert (stage.files.root / "starts").read_text() == "xx"


#: mpirun that cannot start any ranks, and with --quiet does not say why.
MUTE = r"""#!/bin/bash
case $* in *--version*) echo "mpirun (Open MPI) 4.1.4"; exit;; esac
[ "$1" = --quiet ] || printf 'no slots: %s\n' "${*: -1}" >&2
exit 1
"""


def test_what_mpirun_does_not_say_when_it_is_quiet(tmp_path: Path) -> None:
    stage = Ends(tmp_path)
    (tmp_path / "tools" / "mpirun").write_text(MUTE)
    loud = SITE.model_copy(update={"mpirun": ["mpirun", "--oversubscribe"]})
    for site in (SITE, loud):
        script = render_script(stage.manifest(), stage.files, site, ROOT)
        stage.files.job_script.write_text(script)
        stage.files.exit_code.unlink(missing_ok=True)
        assert stage.run_job() == 1
        told = (stage.files.logs / "stderr.log").read_text().splitlines()
        said = [line for line in told if line.startswith("no slots: ")]
        assert len(said) == 1, told  # and no second time by one that is not quiet
        assert (said == ["no slots: true"]) == (site is SITE)
        (stage.files.logs / "stderr.log").unlink()
