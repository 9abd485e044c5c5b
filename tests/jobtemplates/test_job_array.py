"""Job arrays: their script, the ids of their tasks, and where the schedulers list them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import List

import pytest

from jobtemplates.array_script import render_array
from jobtemplates.backend import QueueEntry, job_number
from jobtemplates.schedulers import SCHEDULERS
from jobtemplates.submitted import Submitted, Unreadable

SLURM, GRID_ENGINE, PBS = (SCHEDULERS[name] for name in ("slurm", "gridengine", "pbs"))

GOLDEN = Path(__file__).parent / "golden"


def script_of(scheduler: str) -> str:
    return (GOLDEN / f"{scheduler}.sh").read_text()


@pytest.mark.parametrize(
    ("scheduler", "directives", "rest"),
    [
        (
            "slurm",
            ["--output=%a/logs/scheduler.log", "--array=1-3"],
            ['"${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"', "$SLURM_ARRAY_TASK_ID"],
        ),
        (
            "gridengine",
            ["-o $TASK_ID/logs/scheduler.log", "-t 1-3"],
            ['"$JOB_ID.$SGE_TASK_ID"', "$SGE_TASK_ID"],
        ),
        (
            "pbs",
            ["-o ^array_index^/logs/scheduler.log", "-r y", "-J 1-3"],
            ['"${PBS_JOBID%%.*}"', "$PBS_ARRAY_INDEX"],
        ),
    ],
)
def test_the_script_asks_for_what_each_job_script_asks_for(
    scheduler: str, directives: List[str], rest: List[str]
) -> None:
    backend = SCHEDULERS[scheduler]
    one = script_of(scheduler)
    text = render_array([one] * 3, backend, Path("/out/ab/array-1"))
    assert text is not None
    prefix = f"{backend.prefix} "
    asked, written = (
        [line for line in script.splitlines() if line.startswith(prefix)] for script in (one, text)
    )
    changed = [line for line in asked if "scheduler.log" in line or line == f"{prefix}-r n"]
    assert set(written) - set(asked) == {prefix + line for line in directives}
    if scheduler == "pbs":
        assert set(asked) - set(written) == set(changed)
    else:
        assert set(asked) - set(written) == {line for line in changed if "-r n" not in line}
    assert text.splitlines()[-3:] == [
        f"export BUNDLE_JOB={rest[0]}",
        f'cd /out/ab/array-1/"{rest[1]}" || exit 2',
        "exec bash ./job.sh",
    ]


def test_scripts_that_ask_for_different_things_are_no_array() -> None:
    one = script_of("slurm")
    other = one.replace("--nodes=2", "--nodes=3")
    assert one != other
    assert render_array([one, other], SLURM, Path("/out/array-1")) is None
    # In this folder's name Slurm, Grid Engine and PBS would replace something.
    for scheduler, name in (("slurm", "50%"), ("gridengine", "$HOME"), ("pbs", "a,b")):
        script = script_of(scheduler)
        folder = Path("/out", name, "array-1")
        assert render_array([script, script], SCHEDULERS[scheduler], folder) is None


@pytest.mark.parametrize(
    ("scheduler", "variables", "job"),
    [
        ("slurm", {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "2"}, "7_2"),
        ("gridengine", {"JOB_ID": "7", "SGE_TASK_ID": "2"}, "7.2"),
        ("pbs", {"PBS_JOBID": "7[2].pbs1", "PBS_ARRAY_INDEX": "2"}, "7[2]"),
    ],
)
def test_a_task_runs_the_job_script_of_its_number(
    tmp_path: Path, scheduler: str, variables: dict[str, str], job: str
) -> None:
    array = tmp_path / "it's a $(touch owned)" / "array-1"
    array.mkdir(parents=True)
    for task in (1, 2):
        run = tmp_path / f"run {task}"
        run.mkdir()
        (run / "job.sh").write_text('pwd -P >seen; echo "$BUNDLE_JOB" >>seen; exit 75\n')
        (array / str(task)).symlink_to(run)
    text = render_array([script_of(scheduler)] * 2, SCHEDULERS[scheduler], array)
    if text is None:  # PBS takes no such folder for its log
        shutil.move(array.parent, tmp_path / "plain")
        text = render_array(
            [script_of(scheduler)] * 2, SCHEDULERS[scheduler], tmp_path / "plain" / "array-1"
        )
    assert text is not None
    done = subprocess.run(
        ["bash", "-c", text], env={"PATH": "/usr/bin:/bin", **variables}, check=False, cwd=tmp_path
    )
    assert done.returncode == 75
    assert (tmp_path / "run 2" / "seen").read_text() == f"{tmp_path / 'run 2'}\n{job}\n"
    assert not (tmp_path / "run 1" / "seen").exists()
    assert not list(tmp_path.rglob("owned"))


@pytest.mark.parametrize(
    ("scheduler", "answers", "array", "task"),
    [
        (
            "slurm",
            ["123\n", "Submitted batch job 123\n"],
            Submitted("123"),
            "123_4",
        ),
        (
            "slurm",
            ["123;gpu\n", "Submitted batch job 123 on cluster gpu\n"],
            Submitted("123", "gpu"),
            "123_4",
        ),
        (
            "gridengine",
            ["123.1-6:1\n", 'Your job-array 123.1-6:1 ("digits") has been submitted\n'],
            Submitted("123"),
            "123.4",
        ),
        ("pbs", ["123[].pbs1\n"], Submitted("123", "pbs1"), "123[4].pbs1"),
        ("pbs", ["123[]\n"], Submitted("123"), "123[4]"),
    ],
)
def test_the_id_of_a_task(scheduler: str, answers: List[str], array: Submitted, task: str) -> None:
    backend = SCHEDULERS[scheduler]
    for answer in answers:
        found = backend.array.parse_submitted(f"some words of the site\n{answer}")
        assert found == array
    assert backend.array.task_id(array, 4) == task
    assert backend.job_id[0].fullmatch(task)
    assert (backend.array.task_of(task), backend.array.task_of("123")) == (4, None)
    for wrong in ("", "7 and 8\n", "123.1-6:2\n", "7[]x\n"):
        with pytest.raises(Unreadable):
            backend.array.parse_submitted(wrong)


@pytest.mark.parametrize(
    ("scheduler", "wrong"),
    [
        ("slurm", ["7_", "7_0", "7_[1-4]", "7.4", "-7_1", "7_1;id"]),
        ("gridengine", ["7.", "7.0", "7.1-4", "7_4", "7.4 -f"]),
        ("pbs", ["7[]", "7[0]", "7[1-4].pbs1", "7[4", "7[4];id"]),
    ],
)
def test_what_is_no_id_of_a_task(scheduler: str, wrong: List[str]) -> None:
    """Ids stand on command lines, and a record may be altered."""
    pattern, _ = SCHEDULERS[scheduler].job_id
    assert not [text for text in wrong if pattern.fullmatch(text)]


def test_tasks_in_the_lists_of_the_schedulers() -> None:
    listed = {
        SLURM: "7_1|RUNNING|None\n7_2|PENDING|Resources\n9|PENDING|Priority\n",
        GRID_ENGINE: (
            "<job_info><queue_info><job_list><JB_job_number>7</JB_job_number><state>r</state>"
            "<tasks>1</tasks></job_list></queue_info><job_info><job_list><JB_job_number>7"
            "</JB_job_number><state>qw</state><tasks>2-6:2,9</tasks></job_list><job_list>"
            "<JB_job_number>9</JB_job_number><state>qw</state></job_list></job_info></job_info>"
        ),
        PBS: (
            "\npbs1:\n7[].pbs1  ada rt_HF digits -- 2 16 -- 01:00 B --\n"
            "7[1].pbs1  ada rt_HF digits 12345 2 16 -- 01:00 R 00:01\n"
            "7[2].pb*  ada rt_HF digits -- 2 16 -- 01:00 Q --\n"
            "9.pbs1  ada rt_HF digits -- 2 16 -- 01:00 Q --\n"
        ),
    }
    for backend, text in listed.items():
        found = backend.parse_states(text)
        ids = [backend.array.task_id(Submitted("7", "pbs1"), task) for task in (1, 2, 3)]
        states = [found.get(backend.listed_as(name)) for name in (*ids, "9")]
        assert states == [QueueEntry("running"), QueueEntry("queued"), None, QueueEntry("queued")]
    more = GRID_ENGINE.parse_states(listed[GRID_ENGINE])
    assert sorted(more) == ["7.1", "7.2", "7.4", "7.6", "7.9", "9"]
    with pytest.raises(Unreadable):
        GRID_ENGINE.parse_states(listed[GRID_ENGINE].replace("2-6:2,9", "2-"))


def test_how_a_task_is_asked_for_and_ended() -> None:
    assert SLURM.cancel(["7_2", "7_1"]) == ["scancel", "7_2", "7_1"]
    assert SLURM.warn("7_2") == ["scancel", "--batch", "--signal=USR2", "7_2"]
    assert SLURM.ending("7_2") == ["scontrol", "--oneliner", "show", "job", "7_2"]
    assert GRID_ENGINE.cancel(["7.2", "9"]) == ["qdel", "7.2,9"]
    assert GRID_ENGINE.ending("7.2") == ["qacct", "-j", "7", "-t", "2"]
    assert PBS.cancel(["7[2].pbs1"]) == ["qdel", "7[2].pbs1"]
    assert PBS.ending("7[2].pbs1") == ["qstat", "-x", "-f", "7[2].pbs1"]
    # What $JOB_ID stands for in names of log files.
    assert [job_number(name) for name in ("7_2", "7.2", "7[2].pbs1")] == ["7_2", "7", "7[2]"]
