"""Backends: argument lists, and readers of what the real commands printed.

Recorded from Slurm 22.05.8 and Grid Engine 8.1.9 of Debian 12; PBS's output is written after the
examples of the PBS Professional user's guide, chapter 10.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import List

import pytest

from jobtemplates.backend import (
    Backend,
    JobEnd,
    QueueEntry,
    Scheduler,
    job_number,
)
from jobtemplates.schedulers import BACKENDS, SCHEDULERS
from jobtemplates.sites import TEMPLATES
from jobtemplates.slurm import warning_seconds
from jobtemplates.submitted import Submitted, Unreadable

SLURM, GRID_ENGINE, PBS = (SCHEDULERS[name] for name in ("slurm", "gridengine", "pbs"))
SCRIPT = Path("/out/a b/job.sh")


def test_a_scheduler_that_lacks_a_part_cannot_be_made() -> None:
    class Half(Scheduler):
        name = "half"
        title = "Half"
        warns = False

    with pytest.raises(TypeError, match=r"abstract.* away, cancel, cluster_asked, commands"):
        Half()  # type: ignore[abstract]


@pytest.mark.parametrize("backend", BACKENDS.values(), ids=BACKENDS)
def test_each_backend_has_a_script_and_ids_of_its_own(backend: Backend) -> None:
    assert (TEMPLATES / f"{backend.name}.sh.j2").is_file()
    pattern, words = backend.job_id
    assert words
    assert pattern.fullmatch("12.345" if backend.runs_here else "12")
    for wrong in ("", "-1", "0x1", "1 2", "1;2", "1\n"):
        assert not pattern.fullmatch(wrong)


def test_nothing_asks_for_a_backend_by_its_name() -> None:
    project = Path(__file__).resolve().parents[2]
    asks = re.compile(rf"""[!=]=\s*["'](?:{"|".join(BACKENDS)})["']""")
    sources = [*(project / "manifests").rglob("*.py"), *(project / "jobtemplates").glob("*.py")]
    assert len(sources) > 50
    assert [str(path) for path in sources if asks.search(path.read_text(encoding="utf-8"))] == []


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
        "qsub", "-W", "depend=afterany:7.pbs1", "-o", "/dev/null", "/out/a b/job.sh",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("backend", "printed", "expected"),
    [
        (SLURM, "12\n", Submitted("12")),
        (SLURM, "12;kite\n", Submitted("12", "kite")),
        (SLURM, "500\nSubmitted batch job 12 on cluster gpu\n", Submitted("12", "gpu")),
        (SLURM, "Welcome to kite\n\n 12 \n", Submitted("12")),
        (GRID_ENGINE, "12\n", Submitted("12")),
        (GRID_ENGINE, "Points left: many\n12\n", Submitted("12")),
        (GRID_ENGINE, 'Your job 12 ("digits") has been submitted\n', Submitted("12")),
        (GRID_ENGINE, '500\nYour job 12 ("a 7 b") has been submitted\n', Submitted("12")),
        (PBS, "12.pbs1\n", Submitted("12.pbs1", "pbs1")),
        (PBS, "12\n", Submitted("12")),
    ],
)
def test_the_id_of_a_new_job(backend: Scheduler, printed: str, expected: Submitted) -> None:
    assert backend.parse_submitted(printed) == expected


@pytest.mark.parametrize("backend", SCHEDULERS.values(), ids=SCHEDULERS)
@pytest.mark.parametrize(
    "printed",
    [
        "",
        "job\n",
        "-1\n",
        "0\n",
        "12 500\n",
        "12 (500 points left)\n",
        "Job 12\n",
        "12\n500\n",
        "job 12 was submitted, 500 points left\n",
        "12; 500\n",
        "1e3\n",
        "\u0661\u0662\n",
    ],
)
def test_no_id(backend: Scheduler, printed: str) -> None:
    with pytest.raises(Unreadable):
        backend.parse_submitted(printed)


def test_states_of_slurm() -> None:
    assert SLURM.states("ada") == [
        [
            "squeue", "--all", "--array", "--noheader", "--states=all", "--user=ada",
            "--format=%i|%T|%r",
        ]
    ]  # fmt: skip
    assert SLURM.states("uid 1000", "gpu") == [
        [
            "squeue", "--clusters=gpu", "--all", "--array", "--noheader", "--states=all",
            "--user=1000", "--format=%i|%T|%r",
        ]
    ]  # fmt: skip
    printed = (
        "12|PENDING|BeginTime\n13|PENDING|PartitionNodeLimit\n14|RUNNING|None\n"
        "15|COMPLETING|None\n16|TIMEOUT|TimeLimit\n17|CANCELLED|None\n18|SUSPENDED|None\n"
        "19|FAILED|NonZeroExitCode\n20|FAILED|JobLaunchFailure\n"
    )
    assert SLURM.parse_states(printed) == {
        "12": QueueEntry("queued"),
        "13": QueueEntry("queued", "PartitionNodeLimit"),
        "14": QueueEntry("running"),
        "15": QueueEntry("running"),
        "16": QueueEntry("ended", "TIMEOUT"),
        "17": QueueEntry("ended", "CANCELLED"),
        "18": QueueEntry("running", "suspended"),
        "19": QueueEntry("ended", "FAILED"),
        "20": QueueEntry("ended", "FAILED (JobLaunchFailure)"),
    }
    assert SLURM.parse_states("") == {}
    assert SLURM.parse_states("CLUSTER: gpu\n7|PENDING|None\n") == {"7": QueueEntry("queued")}
    # A federation shows a job and what it left on the cluster that did not start it.
    twice = ["7|REVOKED|None", "7|RUNNING|None"]
    for lines in (twice, twice[::-1]):
        assert SLURM.parse_states("\n".join(lines)) == {"7": QueueEntry("running")}


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ("PENDING CONFIGURING REQUEUED REQUEUE_FED EXPEDITING POWER_UP_NODE", "queued"),
        ("REQUEUE_HOLD RESV_DEL_HOLD SPECIAL_EXIT LAUNCH_FAILED RECONFIG_FAIL", "queued"),
        ("RUNNING COMPLETING RESIZING SIGNALING STAGE_OUT STOPPED SUSPENDED UPDATE_DB", "running"),
        ("BOOT_FAIL CANCELLED COMPLETED DEADLINE FAILED NODE_FAIL OUT_OF_MEMORY", "ended"),
        ("PREEMPTED TIMEOUT", "ended"),
        ("REVOKED HIBERNATING RUNNINGX", "unknown"),
    ],
)
def test_every_state_of_slurms_manual(states: str, expected: str) -> None:
    for state in states.split():
        entry = SLURM.parse_states(f"7|{state}|None\n")["7"]
        assert entry.state == expected, state
    held = SLURM.parse_states("7|LAUNCH_FAILED|None\n8|REQUEUE_HOLD|launch failed\n9|NEW|None\n")
    assert [entry.why for entry in held.values()] == [
        "LAUNCH_FAILED", "REQUEUE_HOLD: launch failed", "its state is 'NEW', which is not known",
    ]  # fmt: skip


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
    assert PBS.states("ada")[0] == ["qstat", "-x", "-t", "-w", "-u", "ada"]
    assert PBS.parse_states(PBS_QSTAT) == {
        "101": QueueEntry("running"),
        "102": QueueEntry("queued"),
        "103": QueueEntry("queued", "held"),
        "104": QueueEntry("ended"),
        "105": QueueEntry("running", "suspended"),
    }
    odd = PBS.parse_states(PBS_QSTAT.replace(" Q  ", " ?  ").replace(" H  ", " M  "))
    assert odd["102"] == QueueEntry("unknown", "its state is '?', which is not known")
    assert odd["103"] == QueueEntry("unknown", "it was moved to another server")


@pytest.mark.parametrize(
    ("states", "expected"),
    [("QWTH", "queued"), ("RBESU", "running"), ("FXC", "ended"), ("MZ?", "unknown")],
)
def test_every_state_of_pbss_manual(states: str, expected: str) -> None:
    for state in states:
        line = f"101.pbs1 ada rt_HF digits 12345 2 16 -- 01:00 {state} 00:10\n"
        assert PBS.parse_states(line)["101"].state == expected, state


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ("qw hqw Rq hRwq Eqw Ehqw EhRqw", "queued"),
        ("r hr t Rr Rt s ts S tS T tT Rs Rts RS RtS RT RtT dr dt dRr ds dS dT P N", "running"),
        ("z x", "ended"),
        ("? u rv Q", "unknown"),
    ],
)
def test_every_state_of_grid_engines_manual(states: str, expected: str) -> None:
    for state in states.split():
        xml = f"<j><job_list><JB_job_number>7</JB_job_number><state>{state}</state></job_list></j>"
        assert GRID_ENGINE.parse_states(xml)["7"].state == expected, state


def test_another_cluster_is_named_in_every_question() -> None:
    at = "--clusters=gpu"
    assert SLURM.working("ada", "gpu")[0][:2] == ["squeue", at]
    assert SLURM.cancel(["2", "1"], "gpu") == ["scancel", at, "2", "1"]
    assert SLURM.ending("2", "gpu")[:2] == ["scontrol", at]
    there_are = SLURM.nodes_there_are({}, "gpu")
    assert there_are is not None and there_are[:2] == ["sinfo", at]
    assert SLURM.nodes_there_are({}, "gpu,cpu") is None
    assert SLURM.submit(SCRIPT, after="7", cluster="gpu")[-2:] == [at, str(SCRIPT)]
    assert PBS.states("ada", "pbs2")[0] == ["qstat", "-x", "-t", "-w", "-u", "ada", "@pbs2"]


@pytest.mark.parametrize(
    ("backend", "lines", "cluster"),
    [
        (SLURM, ["--clusters=gpu", "--nodes=1"], "gpu"),
        (SLURM, ["-M a", '"--clusters b"'], "b"),
        (SLURM, ["-Mgpu"], "gpu"),
        (SLURM, ["--nodes=1"], ""),
        (PBS, ["-q workq@pbs2"], "pbs2"),
        (PBS, ["-q @pbs2"], "pbs2"),
        (PBS, ["-q workq"], ""),
    ],
)
def test_the_cluster_that_options_name(backend: Scheduler, lines: List[str], cluster: str) -> None:
    assert backend.cluster_asked(lines) == cluster


@pytest.mark.parametrize(
    ("backend", "printed", "home"),
    [
        (SLURM, "CgroupAutomount = yes\nClusterName             = kite\n", "kite"),
        (SLURM, "", ""),
        (GRID_ENGINE, "login1\n", "login1"),
        (PBS, "Server: pbs1.site\n    server_state = Active\n", "pbs1.site"),
    ],
)
def test_what_a_scheduler_calls_itself(backend: Scheduler, printed: str, home: str) -> None:
    assert backend.parse_home(printed) == home


def test_where_a_new_job_lies() -> None:
    assert SLURM.elsewhere("gpu", "login") == SLURM.elsewhere("gpu", "") == "gpu"
    assert SLURM.elsewhere("login", "login") == ""
    assert PBS.elsewhere("pbs1", "pbs1.site") == PBS.elsewhere("pbs1", "") == ""
    assert PBS.elsewhere("pbs2", "pbs1.site") == "pbs2"


@pytest.mark.parametrize(
    ("backend", "folder", "words"),
    [
        (SLURM, "/out/a b$c", []),
        (SLURM, "/out/50%j", ["--output=/out/50%%j/logs/scheduler.log"]),
        (SLURM, r"/out/a\b%j", [r"--output=/out/a\\b%j/logs/scheduler.log"]),
        (GRID_ENGINE, "/out/a:b,%j~", []),
        (GRID_ENGINE, "/out/$(x)", []),
        (GRID_ENGINE, "/out/a$JOB_ID", ["-wd", "/", "-o", "/dev/null"]),
        (GRID_ENGINE, "/out/${HOME}", ["-wd", "/", "-o", "/dev/null"]),
        (PBS, "/out/a+b=c@d", []),
        (PBS, "/out/a:b", ["-o", "/dev/null"]),
        (PBS, "/out/a^array_index^", ["-o", "/dev/null"]),
    ],
)
def test_folders_in_which_a_scheduler_sees_patterns(
    backend: Scheduler, folder: str, words: List[str]
) -> None:
    run = Path(folder)
    assert backend.output(run) == words
    assert backend.submit(run / "job.sh")[-1 - len(words) :] == [*words, str(run / "job.sh")]
    lost = "/dev/null" in words
    assert (backend.output_warning(run) is not None) == lost


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
