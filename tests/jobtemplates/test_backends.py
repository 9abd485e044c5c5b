"""Backends: argument lists, and readers of what the real commands printed.

Recorded from Slurm 22.05.8 and Grid Engine 8.1.9 of Debian 12; PBS's output is written after the
examples of the PBS Professional user's guide, chapter 10.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from jobtemplates.backend import Backend, JobEnd, QueueEntry, Scheduler, Unreadable, job_number
from jobtemplates.schedulers import BACKENDS, SCHEDULERS
from jobtemplates.sites import TEMPLATES
from jobtemplates.slurm import warning_seconds

SLURM, GRID_ENGINE, PBS = (SCHEDULERS[name] for name in ("slurm", "gridengine", "pbs"))
SCRIPT = Path("/out/a b/job.sh")


def test_a_scheduler_that_lacks_a_part_cannot_be_made() -> None:
    class Half(Scheduler):
        name = "half"
        title = "Half"
        warns = False

    with pytest.raises(TypeError, match=r"abstract.* away, cancel, commands, cut_off, directive"):
        Half()  # type: ignore[abstract]


@pytest.mark.parametrize("backend", BACKENDS.values(), ids=BACKENDS)
def test_each_backend_has_a_script_and_ids_of_its_own(backend: Backend) -> None:
    assert (TEMPLATES / f"{backend.name}.sh.j2").is_file()
    pattern, words = backend.job_id
    assert words
    assert pattern.fullmatch("12.345" if backend.runs_here else "12")
    for wrong in ("", "-1", "0x1", "1 2", "1;2", "1\n"):
        assert not pattern.fullmatch(wrong)


def test_submitting() -> None:
    assert SLURM.submit(SCRIPT) == ["sbatch", "--parsable", "/out/a b/job.sh"]
    assert SLURM.submit(SCRIPT, after="7") == [
        "sbatch", "--parsable", "--dependency=afterany:7", "--kill-on-invalid-dep=yes",
        "/out/a b/job.sh",
    ]  # fmt: skip
    assert GRID_ENGINE.submit(SCRIPT, options=["-g", "tga"], after="7") == [
        "qsub", "-terse", "-g", "tga", "-hold_jid", "7", "/out/a b/job.sh",
    ]  # fmt: skip
    assert PBS.submit(SCRIPT, after="7.pbs1") == [
        "qsub", "-W", "depend=afterany:7.pbs1", "/out/a b/job.sh",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("backend", "printed", "expected"),
    [
        (SLURM, "12\n", "12"),
        (SLURM, "12;kite\n", "12"),
        (GRID_ENGINE, "12\n", "12"),
        (GRID_ENGINE, "Points left: many\n12\n", "12"),
        (GRID_ENGINE, 'Your job 12 ("digits") has been submitted\n', "12"),
        (PBS, "12.pbs1\n", "12.pbs1"),
        (PBS, "12\n", "12"),
    ],
)
def test_the_id_of_a_new_job(backend: Scheduler, printed: str, expected: str) -> None:
    assert backend.parse_submitted(printed) == expected


@pytest.mark.parametrize("backend", SCHEDULERS.values(), ids=SCHEDULERS)
@pytest.mark.parametrize("printed", ["", "job\n", "-1\n"])
def test_no_id(backend: Scheduler, printed: str) -> None:
    with pytest.raises(Unreadable):
        backend.parse_submitted(printed)


def test_states_of_slurm() -> None:
    assert SLURM.states("ada") == [
        ["squeue", "--noheader", "--states=all", "--user=ada", "--format=%i|%T|%r"]
    ]
    printed = (
        "12|PENDING|BeginTime\n13|PENDING|PartitionNodeLimit\n14|RUNNING|None\n"
        "15|COMPLETING|None\n16|TIMEOUT|TimeLimit\n17|CANCELLED|None\n18|SUSPENDED|None\n"
    )
    assert SLURM.parse_states(printed) == {
        "12": QueueEntry("queued"),
        "13": QueueEntry("queued", "PartitionNodeLimit"),
        "14": QueueEntry("running"),
        "15": QueueEntry("running"),
        "16": QueueEntry("ended"),
        "17": QueueEntry("ended"),
        "18": QueueEntry("running"),
    }
    assert SLURM.parse_states("") == {}


QSTAT = """<?xml version='1.0'?>
<job_info  xmlns:xsd="http://arc.liv.ac.uk/repos/darcs/sge/source/dist/util/resources/schemas/qstat/qstat.xsd">
  <queue_info>
    <job_list state="running">
      <JB_job_number>2</JB_job_number>
      <JAT_prio>0.50000</JAT_prio>
      <JB_name>s.sh</JB_name>
      <JB_owner>root</JB_owner>
      <state>r</state>
      <JAT_start_time>2026-11-23T16:29:35</JAT_start_time>
      <queue_name>all.q@n1</queue_name>
      <slots>1</slots>
    </job_list>
    <job_list state="running"><JB_job_number>5</JB_job_number><state>dr</state></job_list>
    <job_list state="running"><JB_job_number>6</JB_job_number><state>S</state></job_list>
  </queue_info>
  <job_info>
    <job_list state="pending">
      <JB_job_number>4</JB_job_number>
      <JB_name>s.sh</JB_name>
      <JB_owner>root</JB_owner>
      <state>Eqw</state>
      <queue_name></queue_name>
    </job_list>
    <job_list state="pending">
      <JB_job_number>3</JB_job_number>
      <state>hqw</state>
    </job_list>
    <job_list state="pending"><JB_job_number>7</JB_job_number><state>qw</state></job_list>
  </job_info>
</job_info>
"""


def test_states_of_grid_engine() -> None:
    assert GRID_ENGINE.states("ada") == [["qstat", "-xml", "-u", "ada"]]
    assert GRID_ENGINE.parse_states(QSTAT) == {
        "2": QueueEntry("running"),
        "5": QueueEntry("running"),
        "6": QueueEntry("running", "suspended"),
        "4": QueueEntry("queued", "Eqw: see qstat -j 4"),
        "3": QueueEntry("queued", "held"),
        "7": QueueEntry("queued"),
    }
    for wrong in ("", "no XML", "<a><job_list><state>r</state></job_list></a>"):
        with pytest.raises(Unreadable):
            GRID_ENGINE.parse_states(wrong)


PBS_QSTAT = """
pbs1:
                                                            Req'd  Req'd   Elap
Job ID          Username Queue    Jobname    SessID NDS TSK Memory Time  S Time
--------------- -------- -------- ---------- ------ --- --- ------ ----- - -----
101.pbs1        ada      rt_HF    digits      12345   2  16    --  01:00 R 00:10
102.pbs1        ada      rt_HF    digits        --    2  16    --  01:00 Q   --
103.pbs1        ada      rt_HF    digits        --    2  16    --  01:00 H   --
104.pbs1-with-* ada      rt_HF    digits      12346   2  16    --  01:00 F 00:20
105.pbs1        ada      rt_HF    digits      12347   2  16    --  01:00 S 00:20
"""


def test_states_of_pbs() -> None:
    assert PBS.states("ada")[0] == ["qstat", "-x", "-w", "-u", "ada"]
    assert PBS.parse_states(PBS_QSTAT) == {
        "101": QueueEntry("running"),
        "102": QueueEntry("queued"),
        "103": QueueEntry("queued", "held"),
        "104": QueueEntry("ended"),
        "105": QueueEntry("running", "suspended"),
    }
    with pytest.raises(Unreadable):
        PBS.parse_states(PBS_QSTAT.replace(" Q  ", " ?  "))


def test_cancelling() -> None:
    assert SLURM.cancel(["2", "1"]) == ["scancel", "2", "1"]
    assert GRID_ENGINE.cancel(["2", "1"]) == ["qdel", "2,1"]
    assert PBS.cancel(["2.p", "1.p"]) == ["qdel", "2.p", "1.p"]


@pytest.mark.parametrize(
    ("backend", "printed", "expected"),
    [
        (SLURM, "JobId=2 JobState=FAILED Reason=NonZeroExitCode ExitCode=75:0 X=1", (75, "FAILED")),
        (SLURM, "JobId=2 JobState=TIMEOUT Reason=TimeLimit ExitCode=0:15 X=1", (143, "TIMEOUT")),
        (SLURM, "JobId=2 JobState=RUNNING ExitCode=0:0", None),
        (GRID_ENGINE, "failed       0    \nexit_status  75                  \n", (75, "")),
        (
            GRID_ENGINE,
            "failed       0    \nexit_status  1\n====\n"
            "failed       100 : assumedly after job\nexit_status  137                 \n",
            (137, "assumedly after job"),
        ),
        (GRID_ENGINE, "", None),
        (
            PBS,
            "    job_state = F\n    Exit_status = 271\n    comment = over its walltime\n",
            (143, "over its walltime"),
        ),
        (PBS, "    job_state = R\n", None),
    ],
)
def test_how_a_job_ended(backend: Scheduler, printed: str, expected: object) -> None:
    ending = backend.parse_ending(printed)
    assert ending == (None if expected is None else JobEnd(*expected))  # type: ignore[misc]


def test_nodes_of_slurm() -> None:
    assert SLURM.nodes_there_are({}) == ["sinfo", "--noheader", "--format=%N", "--Node"]
    assert SLURM.nodes_there_are({"p": "gpu"}) == [
        "sinfo", "--noheader", "--format=%N", "--Node", "--partition=gpu",
    ]  # fmt: skip
    assert SLURM.parse_nodes("n1\nn2\nn1\n") == 2
    assert SLURM.parse_nodes("") is None


def test_the_second_warning_comes_late_where_the_deadline_is_known() -> None:
    assert [warning_seconds(value) for value in (None, 1, 600, 86400)] == [300, 1, 30, 120]


def test_the_number_of_a_job() -> None:
    assert [job_number(text) for text in ("12", "12.pbs1", "12.345")] == ["12"] * 3
