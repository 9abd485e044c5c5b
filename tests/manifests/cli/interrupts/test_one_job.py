"""Ctrl-C in a real terminal, once and again: a job is handed over, waited for and cancelled"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import List, Optional

import pytest

from jobtemplates import local
from manifests.record.run_files import RunFiles
from tests.manifests.cli.interrupts.fake_slurm import Slurm
from tests.manifests.cli.interrupts.probe import (
    BEGUN,
    HELD,
    PROBE,
    PROJECT,
    STILL,
    job_id,
    prepared,
    probe,
)
from tests.typed import Typed


def cancelled(files: RunFiles) -> str:
    return (
        f"bundle: interrupted: the job was cancelled; its run stays in {files.root}\n"
        f"-> to go on: python bundle.py resume '{files.root}'\n"
    )


def test_a_job_that_is_being_submitted_is_recorded_and_cancelled(
    tmp_path: Path, slurm: Slurm, environment: dict[str, str]
) -> None:
    files = prepared(tmp_path / "a run", "slurm")
    slurm.holds("sbatch", 2)
    typed = probe(environment, "one", files.root, 2)
    slurm.wait_for("sbatch", 2)
    typed.press()
    typed.wait_for(HELD)
    typed.press()
    typed.wait_for(HELD, 2)
    slurm.lets_go()
    code, said = typed.end()
    assert (code, said) == (130, HELD + HELD + BEGUN + cancelled(files))
    assert len(slurm.calls("sbatch")) == 3
    assert slurm.calls("scancel") == ["scancel 9 8 7"]
    job = json.loads(files.job.read_text())
    assert (job["id"], job["chain"]) == ("7", ["8", "9"])
    assert files.cancelled.exists()
    assert not files.submitting.exists()


def test_a_second_one_does_not_stop_the_cancelling(
    tmp_path: Path, slurm: Slurm, environment: dict[str, str]
) -> None:
    files = prepared(tmp_path / "a run", "slurm")
    slurm.holds("scancel")
    typed = probe(environment, "one", files.root)
    typed.wait_for("waiting\n")
    typed.press()
    slurm.wait_for("scancel")
    typed.press()
    typed.wait_for(STILL)
    slurm.lets_go()
    code, said = typed.end()
    assert (code, said) == (130, "waiting\n" + BEGUN + STILL + cancelled(files))
    assert slurm.calls("scancel") == ["scancel 7"]
    assert (slurm.folder / "cancelled").exists()


def test_a_third_one_leaves_the_job_and_names_it(
    tmp_path: Path, slurm: Slurm, environment: dict[str, str]
) -> None:
    files = prepared(tmp_path / "a run", "slurm")
    slurm.holds("scancel")
    typed = probe(environment, "one", files.root)
    typed.wait_for("waiting\n")
    typed.press()
    slurm.wait_for("scancel")
    typed.press()
    typed.wait_for(STILL)
    typed.press()
    code, said = typed.end()
    assert (code, said) == (
        130,
        f"waiting\n{BEGUN}{STILL}"
        f"bundle: interrupted: the job may go on; its run stays in {files.root}\n"
        "it was asked to end\n"
        f"-> to end job 7: python bundle.py cancel '{files.root}'\n",
    )


def test_a_job_that_could_not_be_cancelled_is_named(
    tmp_path: Path, slurm: Slurm, environment: dict[str, str]
) -> None:
    files = prepared(tmp_path / "a run", "slurm")
    typed = probe(environment, "one", files.root, patience=5)
    typed.wait_for("waiting\n")
    for number in range(100):
        slurm.holds("squeue", number)
    typed.press()
    code, said = typed.end()
    assert (code, said) == (
        130,
        f"waiting\n{BEGUN}bundle: interrupted: the job may go on; its run stays in {files.root}\n"
        f"{files.root}: Slurm does not answer: squeue did not end within 5 s: "
        "nothing was cancelled\n"
        f"-> to end job 7: python bundle.py cancel '{files.root}'\n",
    )
    assert not files.cancelled.exists()


def test_an_answer_that_never_came_is_told(
    tmp_path: Path, slurm: Slurm, environment: dict[str, str]
) -> None:
    files = prepared(tmp_path / "a run", "slurm")
    slurm.holds("sbatch")
    typed = probe(environment, "one", files.root, patience=5)
    slurm.wait_for("sbatch")
    typed.press()
    code, said = typed.end()
    assert (code, said) == (
        130,
        f"{HELD}bundle: Slurm did not answer within 5 s: whether it took the job is not known\n"
        "-> when it answers again, this looks into its queue and goes on: "
        f"python bundle.py resume '{files.root}'\n"
        "bundle: interrupted; nothing half-written was left\n",
    )
    assert files.submitting.exists()


def test_before_a_job_is_handed_over_the_new_run_is_gone_again(
    tmp_path: Path, slurm: Slurm, environment: dict[str, str]
) -> None:
    files = prepared(tmp_path / "a run", "slurm")
    before = "manifests.flows.start.remove_left_behind"
    text = PROBE.replace("bundle.main()", f"import os, manifests.flows.start\n{before} = "
                         "lambda _: os.kill(os.getpid(), 2)\nbundle.main()")  # fmt: skip
    argv = [sys.executable, "-c", text.format(project=str(PROJECT), patience=15), "one"]
    code, said = Typed([*argv, str(files.root)], environment).end()
    assert (code, said) == (130, "bundle: interrupted; nothing half-written was left\n")
    assert not files.root.exists()
    assert slurm.calls("sbatch") == []


@pytest.mark.parametrize(
    ("repeats", "hint"),
    [
        (None, "to see it: python bundle.py show"),
        ("/an old/run", "for its verdict: python bundle.py compare '/an old/run'"),
    ],
)
def test_after_the_job_the_way_to_its_verdict_is_named(
    tmp_path: Path, environment: dict[str, str], repeats: Optional[str], hint: str
) -> None:
    script = "echo 0 >exit_code; touch DONE"
    files = prepared(tmp_path / "a run", "local", script, rerun_of=repeats)
    typed = probe(environment, "ended", files.root)
    typed.wait_for("judging\n")
    typed.press()
    assert typed.end() == (
        130,
        "judging\n"
        f"bundle: interrupted: the job had ended before; its run stays in {files.root}\n"
        f"-> {hint} '{files.root}'\n",
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_job_outlives_what_waits_for_it(
    tmp_path: Path, environment: dict[str, str], living: List[RunFiles], number: signal.Signals
) -> None:
    files = prepared(tmp_path / "a run", "local")
    living.append(files)
    typed = probe(environment, "one", files.root)
    typed.wait_for("waiting\n")
    os.kill(typed.pid, number)
    code, said = typed.end()
    assert (code, said) == (
        128 + number,
        f"waiting\nbundle: ended by {number.name}: the job goes on; "
        f"its run stays in {files.root}\n"
        f"-> to end job {job_id(files)}: python bundle.py cancel '{files.root}'\n",
    )
    assert local.is_alive(job_id(files))
    assert not files.cancelled.exists()


def test_a_terminal_that_closes_while_a_job_is_submitted(
    tmp_path: Path, slurm: Slurm, environment: dict[str, str]
) -> None:
    files = prepared(tmp_path / "a run", "slurm")
    slurm.holds("sbatch")
    typed = probe(environment, "one", files.root)
    slurm.wait_for("sbatch")
    os.close(typed.terminal)
    slurm.lets_go()
    os.waitpid(typed.pid, 0)
    assert job_id(files) == "7"
    assert not files.submitting.exists()
    assert slurm.calls("scancel") == []


def test_cancel_itself_is_not_torn(
    tmp_path: Path, slurm: Slurm, environment: dict[str, str]
) -> None:
    files = prepared(tmp_path / "a run", "slurm")
    typed = probe(environment, "one", files.root)
    typed.wait_for("waiting\n")
    os.kill(typed.pid, signal.SIGKILL)
    typed.end()
    slurm.holds("scancel")
    argv = [sys.executable, str(PROJECT / "bundle.py"), "cancel", str(files.root)]
    typed = Typed(argv, environment)
    slurm.wait_for("scancel")
    typed.press()
    typed.wait_for("Ctrl-C once more")
    slurm.lets_go()
    assert typed.end() == (
        130,
        "bundle: the job is being cancelled; Ctrl-C once more to leave it as it is\n"
        f"bundle: interrupted: {files.root}: its job was cancelled\n"
        f"-> see whether it has ended: python bundle.py status '{files.root}'\n",
    )
    assert (slurm.folder / "cancelled").exists()
    assert files.cancelled.exists()
