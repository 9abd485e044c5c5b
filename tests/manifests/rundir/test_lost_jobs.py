"""A scheduler that was given a job and never said its name: nobody starts a second one blindly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import List

import pytest

from container.trouble import Trouble
from manifests.cli.overview import list_rows
from manifests.flows.cancel import cancel_run
from manifests.flows.resume import refuse_busy
from manifests.flows.start import start_new, start_run
from manifests.host.context import HostContext
from manifests.record.run_files import RunFiles
from manifests.rundir import submission
from tests.manifests.rundir.test_queue import Fakes, fakes, host, job, prepared

__all__ = ["fakes", "host"]

XML = """<job_info><queue_info/><job_info>
<job_list state="pending"><JB_job_number>7</JB_job_number><JB_name>{0}</JB_name>
<state>qw</state></job_list>
<job_list state="running"><JB_job_number>8</JB_job_number><JB_name>other</JB_name>
<state>r</state></job_list></job_info></job_info>
"""
PBS = "\npbs1:\n7.pbs1  ada rt_HF {0} 12345 2 16 -- 01:00 Q --\n8.pbs1 ada rt_HF x 1 2 3 -- 1 R 1\n"


def lost(tmp_path: Path, scheduler: str, host: HostContext, fakes: Fakes) -> RunFiles:
    """A run whose job the scheduler took, or did not: the answer was of no use."""
    files = prepared(tmp_path, scheduler)
    for name in ("sbatch", "qsub"):
        fakes.says(name, "Good morning\n")
    with pytest.raises(Trouble):
        start_run(files, host)
    fakes.calls()
    return files


def all_files(files: RunFiles) -> List[Path]:
    return sorted(path for path in files.root.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("scheduler", "command", "there", "gone", "end"),
    [
        ("slurm", "squeue", "7|{root}\n8|/elsewhere\n", "8|/elsewhere\n", "scancel 7"),
        ("gridengine", "qstat", XML.format("digits"), XML.format("digit"), "qdel 7"),
        ("pbs", "qstat", PBS.format("dig*"), PBS.format("dig"), "qdel 7.pbs1"),
    ],
)
def test_resume_looks_into_the_queue(
    tmp_path: Path, host: HostContext, fakes: Fakes, scheduler: str, command: str, there: str,
    gone: str, end: str,
) -> None:  # fmt: skip
    files = lost(tmp_path, scheduler, host, fakes)
    before = all_files(files)
    assert list_rows([files.root.parent], host)[0]["state"] == "unknown"
    fakes.says(command, there.format(root=files.root))
    with pytest.raises(Trouble) as caught:
        refuse_busy(files, host)
    title = {"slurm": "Slurm", "gridengine": "Grid Engine", "pbs": "PBS"}[scheduler]
    assert str(caught.value) == (
        f"{files.root}: {title} has job {end.split()[1]} of the name digits, and never said "
        "whether it is this run's\n"
        f"-> where it is, wait for its end or end it first: {end}; "
        f"where it is another run's: rm {files.submitting}"
    )
    fakes.fails(command, "away\n")
    with pytest.raises(Trouble) as caught:
        refuse_busy(files, host)
    assert str(caught.value) == (
        f"{files.root}: whether {title} took its job is not known, and {title} does not answer: "
        "away\n-> resume it when the scheduler answers, on a host of the cluster"
    )
    assert all_files(files) == before
    fakes.says(command, gone)
    refuse_busy(files, host)
    for name in ("sbatch", "qsub"):
        fakes.says(name, "9\n")
    assert start_run(files, host).id == "9"
    assert not files.submitting.exists()


def test_a_lost_job_of_a_run_that_had_one(tmp_path: Path, host: HostContext, fakes: Fakes) -> None:
    files = prepared(tmp_path, "slurm")
    job(files, "slurm", id="5")
    fakes.says("sbatch", "no number\n")
    with pytest.raises(Trouble):
        start_run(files, host)
    fakes.says("squeue", f"7|{files.root}\n")
    with pytest.raises(Trouble) as caught:
        refuse_busy(files, host)
    assert caught.value.problems == [
        f"{files.root}: Slurm has job 7 of the name digits, and never said whether it is this run's"
    ]
    assert json.loads(files.job.read_text())["id"] == "5"


def test_killed_while_it_submits(
    tmp_path: Path, host: HostContext, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = prepared(tmp_path, "slurm")

    def killed(*_values: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(submission, "start", killed)
    with pytest.raises(KeyboardInterrupt):
        start_run(files, host)
    noted = json.loads(files.submitting.read_text())
    assert (noted["jobname"], noted["user"], noted["host"]) == ("digits", "ada", "login1")


def test_cancel_does_not_say_that_a_lost_job_never_was(
    tmp_path: Path, host: HostContext, fakes: Fakes
) -> None:
    files = lost(tmp_path, "slurm", host, fakes)
    with pytest.raises(Trouble) as caught:
        cancel_run(files, host)
    assert str(caught.value) == (
        f"{files.root}: the scheduler never said what its job is called\n"
        "-> look for job digits in its queue, and end it there"
    )
    assert fakes.calls() == []


SLURM_AWAY = (
    "sbatch: error: Batch job submission failed: "
    "Unable to contact slurm controller (connect failure)"
)
GRID_ENGINE_AWAY = """\
error: commlib error: got select error (Connection refused)
Unable to run job: unable to send message to qmaster using port 39761 on host "vm": got send error
Exiting."""


@pytest.mark.parametrize(
    ("scheduler", "said"),
    [
        ("slurm", SLURM_AWAY),
        ("gridengine", GRID_ENGINE_AWAY),
        (
            "gridengine",
            "Unable to initialize environment because of error: unable to read qmaster name: "
            'qmaster hostname in "/var/lib/ge/act_qmaster" has zero length',
        ),
        ("pbs", "qsub: cannot connect to server pbs1 (errno=111)"),
    ],
)
def test_a_scheduler_that_is_down_refuses_nothing(
    tmp_path: Path, host: HostContext, fakes: Fakes, scheduler: str, said: str
) -> None:
    files = prepared(tmp_path, scheduler)
    fakes.fails("sbatch" if scheduler == "slurm" else "qsub", f"{said}\n")
    with pytest.raises(Trouble) as caught:
        start_new(files, host)
    title = {"slurm": "Slurm", "gridengine": "Grid Engine", "pbs": "PBS"}[scheduler]
    assert str(caught.value) == (
        f"{title} does not answer: {said}\n"
        "-> nothing was submitted; try again when it answers (doctor --site asks it)"
    )
    assert not files.root.exists()


def test_an_answer_that_was_cut_off(tmp_path: Path, host: HostContext, fakes: Fakes) -> None:
    files = prepared(tmp_path, "slurm")
    said = "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation"
    fakes.fails("sbatch", f"{said}\n")
    with pytest.raises(Trouble) as caught:
        start_new(files, host)
    assert str(caught.value) == (
        f"Slurm did not answer: whether it took the job is not known ({said})\n"
        "-> when it answers again, this looks into its queue and goes on: "
        f"python bundle.py resume {files.root}"
    )
    assert files.submitting.exists()


def test_a_refused_job_leaves_no_mark(tmp_path: Path, host: HostContext, fakes: Fakes) -> None:
    files = prepared(tmp_path, "slurm")
    fakes.fails("sbatch", "no\n")
    with pytest.raises(Trouble):
        start_run(files, host)
    assert not files.submitting.exists()


@pytest.mark.parametrize(
    ("scheduler", "printed"), [("slurm", "0\n"), ("gridengine", "0\n"), ("pbs", "0.pbs1\n")]
)
def test_no_job_has_the_number_0(
    tmp_path: Path, host: HostContext, fakes: Fakes, scheduler: str, printed: str
) -> None:
    files = prepared(tmp_path, scheduler)
    command = "sbatch" if scheduler == "slurm" else "qsub"
    fakes.says(command, printed)
    with pytest.raises(Trouble) as caught:
        start_run(files, host)
    assert str(caught.value) == (
        f"no job id found in {command}'s output: {printed.strip()!r}\n"
        "-> look for job digits in the queue, whether it was taken is not known; "
        f"where it is not there: python bundle.py resume {files.root}"
    )
    assert not files.job.exists()
