"""Where a job lies is remembered and asked there; what cannot be seen from here is unknown."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List

import pytest

from container.trouble import Trouble
from jobtemplates.sites import parse_site
from manifests.flows.cancel import cancel_run
from manifests.flows.resume import refuse_busy
from manifests.flows.start import start_run
from manifests.host.context import HostContext
from manifests.record.run_files import RunFiles
from manifests.rundir.job import Job, read_job
from manifests.rundir.queue import Queues
from manifests.rundir.records import read_manifest
from manifests.rundir.submission import refuse_too_many_nodes
from tests.manifests.rundir.test_queue import Fakes, fakes, host, job, prepared

__all__ = ["fakes", "host"]

CONFIG = "ClusterName             = {}\n"


def submitted(tmp_path: Path, host: HostContext, fakes: Fakes, printed: str) -> RunFiles:
    """A job of Slurm's cluster login."""
    files = prepared(tmp_path, "slurm")
    fakes.says("sbatch", printed)
    fakes.says("scontrol", CONFIG.format("login"))
    start_run(files, host)
    fakes.calls()
    return files


def refusal(files: RunFiles, host: HostContext) -> str:
    with pytest.raises(Trouble) as caught:
        refuse_busy(files, host)
    return str(caught.value)


def not_known(files: RunFiles, why: str) -> str:
    return (
        f"{files.root}: {why}: whether its job still runs is not known\n"
        "-> resume it where the scheduler answers and shows the job; if you know that none of its "
        f"jobs is left: rm {files.job}"
    )


def test_a_job_of_another_cluster_is_asked_for_there(
    tmp_path: Path, host: HostContext, fakes: Fakes
) -> None:
    files = submitted(tmp_path, host, fakes, "701;gpu\n")
    (fakes.folder / "squeue").write_text(
        f'#!/bin/bash\necho "squeue $*" >>{fakes.folder}/calls\n'
        "[[ $* == *--clusters=gpu* ]] && printf 'CLUSTER: gpu\\n701|RUNNING|None\\n'; true\n"
    )
    assert Queues(host)(files).state == "running"
    assert refusal(files, host).startswith(f"{files.root}: its job still runs\n")
    fakes.calls()
    assert cancel_run(files, host) is True
    assert fakes.calls()[-1] == "scancel --clusters=gpu 701"


def test_a_chain_stays_on_the_cluster_of_its_first_job(
    tmp_path: Path, host: HostContext, fakes: Fakes
) -> None:
    files = prepared(tmp_path, "slurm", submit_options=["--clusters=gpu,cpu"])
    fakes.says("sbatch", "701;gpu\n")
    job = start_run(files, host, 1)
    assert fakes.calls()[:2] == [
        f"sbatch --parsable --clusters=gpu,cpu {files.job_script}",
        "sbatch --parsable --dependency=afterany:701 --kill-on-invalid-dep=yes "
        f"--clusters=gpu,cpu --clusters=gpu {files.job_script}",
    ]
    assert (job.cluster, job.home) == ("gpu", "")


def test_the_cluster_that_answers_by_default_needs_no_name(
    tmp_path: Path, host: HostContext, fakes: Fakes
) -> None:
    job = read_job(submitted(tmp_path, host, fakes, "701;login\n"))
    assert job is not None
    assert (job.cluster, job.home, job.environment) == ("", "login", {})
    assert job.program == str(fakes.folder / "sbatch")


def test_a_job_of_another_account(tmp_path: Path, host: HostContext, fakes: Fakes) -> None:
    files = submitted(tmp_path, host, fakes, "701\n")
    bob = replace(host, user="bob")
    fakes.says("squeue", "")
    fakes.fails("scontrol", "slurm_load_jobs error: Invalid job id specified\n")
    why = "its job is one of account ada: Slurm may not show it to bob"
    assert refusal(files, bob) == not_known(files, why)
    with pytest.raises(Trouble) as caught:
        cancel_run(files, bob)
    assert str(caught.value) == (
        f"{files.root}: job 701: {why}: it was not cancelled\n"
        "-> cancel it where it is seen: as ada on host login1"
    )
    assert "scancel" not in "".join(fakes.calls())
    fakes.says("squeue", "701|RUNNING|None\n")  # shown all the same
    assert Queues(bob)(files).state == "running"
    fakes.says("squeue", "")
    fakes.says("scontrol", "JobId=701 JobState=TIMEOUT ExitCode=0:15\n")
    assert Queues(bob)(files).state == "ended"
    refuse_busy(files, bob)


def test_a_job_script_that_left_its_code_has_ended_for_everybody(
    tmp_path: Path, host: HostContext, fakes: Fakes
) -> None:
    files = submitted(tmp_path, host, fakes, "701\n")
    bob = replace(host, user="bob")
    fakes.fails("scontrol", "no\n")
    refusal(files, bob)
    files.interrupted.write_text("205\n")
    refuse_busy(files, bob)
    files.interrupted.unlink()
    files.exit_code.write_text("75\n")
    files.stopped.write_text("{}")
    refuse_busy(files, bob)


def elsewhere(tmp_path: Path, host: HostContext) -> HostContext:
    """A login node of another cluster that has the same files."""
    return replace(host, hostname="login9")


def test_another_cluster_answers(tmp_path: Path, host: HostContext, fakes: Fakes) -> None:
    files = submitted(tmp_path, host, fakes, "701\n")
    there = elsewhere(tmp_path, host)
    fakes.says("squeue", "701|RUNNING|None\n")  # of the same number, and not this run's
    fakes.says("scontrol", CONFIG.format("west"))
    why = "its job is one of Slurm login, Slurm here is west"
    assert refusal(files, there) == not_known(files, why)
    with pytest.raises(Trouble) as caught:
        cancel_run(files, there)
    assert str(caught.value) == (
        f"{files.root}: {why}: nothing was cancelled\n"
        "-> try again when it answers, on a host of the cluster"
    )
    assert "scancel" not in "".join(fakes.calls())
    fakes.fails("scontrol", "down\n")
    silent = "its job is one of Slurm login, Slurm here does not say its name"
    assert refusal(files, there) == not_known(files, silent)
    fakes.says("scontrol", CONFIG.format("login"))  # another login node of the same cluster
    assert Queues(there)(files).state == "running"
    fakes.says("squeue", "")
    refuse_busy(files, there)


def test_the_same_host_needs_no_second_question(
    tmp_path: Path, host: HostContext, fakes: Fakes
) -> None:
    files = submitted(tmp_path, host, fakes, "701\n")
    fakes.says("squeue", "701|RUNNING|None\n")
    Queues(host)(files)
    assert [call.split()[0] for call in fakes.calls()] == ["squeue"]


def test_a_job_is_asked_for_as_it_was_submitted(
    tmp_path: Path, host: HostContext, fakes: Fakes
) -> None:
    """Another module is loaded since: SLURM_CONF names another cluster."""
    (fakes.folder / "squeue").write_text(
        '#!/bin/bash\n[ "$SLURM_CONF" = /a ] && echo "701|RUNNING|None"; true\n'
    )
    first = replace(host, environ={**host.environ, "SLURM_CONF": "/a"})
    files = submitted(tmp_path, first, fakes, "701\n")
    then = replace(host, environ={**host.environ, "SLURM_CONF": "/b"})
    assert Queues(then)(files).state == "running"
    assert cancel_run(files, then) is True


def test_a_cluster_that_a_module_chose(tmp_path: Path, host: HostContext, fakes: Fakes) -> None:
    for name, text in (
        ("sbatch", 'echo "701;$SBATCH_CLUSTERS"'),
        ("scontrol", 'echo "ClusterName = ${SLURM_CLUSTERS:-login}"'),
        ("squeue", '[ "$SLURM_CLUSTERS" = gpu ] && echo "701|RUNNING|None"; true'),
    ):
        (fakes.folder / name).write_text(f"#!/bin/bash\n{text}\n")
    chosen = {"SLURM_CLUSTERS": "gpu", "SBATCH_CLUSTERS": "gpu"}
    files = prepared(tmp_path, "slurm")
    job = start_run(files, replace(host, environ={**host.environ, **chosen}))
    assert (job.cluster, job.home, job.environment) == ("", "gpu", chosen)
    assert Queues(host)(files).state == "running"  # another module is loaded now


def test_a_setting_that_leads_nowhere_any_more(
    tmp_path: Path, host: HostContext, fakes: Fakes
) -> None:
    (fakes.folder / "squeue").write_text(
        '#!/bin/bash\n[ "$SLURM_CONF" = /b ] || { echo "no such file: $SLURM_CONF" >&2; exit 1; }\n'
        'echo "701|RUNNING|None"\n'
    )
    first = replace(host, environ={**host.environ, "SLURM_CONF": "/a"})
    files = submitted(tmp_path, first, fakes, "701\n")
    then = replace(host, environ={**host.environ, "SLURM_CONF": "/b"})
    assert Queues(then)(files).state == "running"
    fakes.says("scontrol", CONFIG.format("west"))
    warnings: List[str] = []
    assert Queues(then, warnings.append)(files).state == "unknown"
    assert warnings == [
        "Slurm does not answer: no such file: /a; the state of its jobs is not known"
    ]


def test_another_program_of_which_no_cluster_is_known(
    tmp_path: Path, host: HostContext, fakes: Fakes
) -> None:
    files = prepared(tmp_path, "slurm")
    fakes.says("sbatch", "701\n")
    fakes.fails("scontrol", "no\n")
    start_run(files, host)
    fakes.says("squeue", "")
    other = tmp_path / "other"
    other.mkdir()
    (other / "sbatch").symlink_to(fakes.folder / "sbatch")
    there = replace(host, environ={**host.environ, "PATH": f"{other}:{host.environ['PATH']}"})
    assert refusal(files, there) == not_known(
        files,
        f"its job was submitted by {fakes.folder}/sbatch, here is {other}/sbatch: "
        "whether they are of one cluster is not known",
    )
    refuse_busy(files, host)


def test_a_job_that_went_to_another_pbs_server(
    tmp_path: Path, host: HostContext, fakes: Fakes
) -> None:
    files = prepared(tmp_path, "pbs", others={"q": "workq@pbs2"})
    fakes.says("qsub", "7.pbs2\n")
    (fakes.folder / "qstat").write_text(
        "#!/bin/bash\n[[ $* != *-B* ]] || { echo 'Server: pbs1'; exit; }\n"
        "[[ $* == *@pbs2 ]] && echo '7.pbs2 ada workq digits 12345 2 16 -- 01:00 R 00:10'; true\n"
    )
    assert start_run(files, host).cluster == "pbs2"
    assert Queues(host)(files).state == "running"


@pytest.mark.parametrize(
    ("scheduler", "number", "command", "listed", "shown"),
    [
        ("slurm", "7", "squeue", "", "JobId=7 JobName=digits JobState=PENDING Reason=None"),
        ("slurm", "7", "squeue", "", "JobId=7 JobState=SUSPENDED ExitCode=0:0"),
        ("pbs", "7.pbs1", "qstat", "", "Job Id: 7.pbs1\n    job_state = R\n    queue = q"),
    ],
)
def test_a_job_that_no_list_shows_and_that_lives(
    tmp_path: Path, host: HostContext, fakes: Fakes, scheduler: str, number: str, command: str,
    listed: str, shown: str,
) -> None:  # fmt: skip
    files = prepared(tmp_path, scheduler)
    job(files, scheduler, id=number)
    fakes.says("scontrol", shown)
    (fakes.folder / command).write_text(
        f'#!/bin/bash\necho "{command} $*" >>{fakes.folder}/calls\n'
        f"case $* in *-f*{number}) echo '{shown}';; *) echo -n '{listed}';; esac\n"
    )
    title = {"slurm": "Slurm", "pbs": "PBS"}[scheduler]
    lives = "it lives, and is not in the list of the account's jobs"
    assert Queues(host)(files).state == "unknown"
    assert refusal(files, host) == not_known(files, f"{title}: {lives}")
    with pytest.raises(Trouble) as caught:
        cancel_run(files, host)
    assert caught.value.problems == [f"{files.root}: job {number}: {lives}: it was not cancelled"]
    assert not [call for call in fakes.calls() if call.startswith(("scancel", "qdel"))]


def test_old_records_of_jobs_are_read_as_before(
    tmp_path: Path, host: HostContext, fakes: Fakes
) -> None:
    files = prepared(tmp_path, "slurm")
    old: Dict[str, Any] = {
        "version": "1.2", "kind": "job", "backend": "slurm", "id": "7", "host": "login0",
        "submitted": "", "user": "ada", "follow_ups": 0, "chain": [], "earlier": [],
    }  # fmt: skip
    files.job.write_text(json.dumps(old))
    fakes.says("squeue", "7|RUNNING|None\n")
    assert Queues(host)(files).state == "running"
    fakes.says("squeue", "")
    fakes.fails("scontrol", "no\n")
    refuse_busy(files, host)


@pytest.mark.parametrize("cluster", ["-x", "a b", "$(x)", "a\n"])
def test_a_cluster_that_no_command_line_may_hold(tmp_path: Path, cluster: str) -> None:
    files = RunFiles(tmp_path)
    values = {"backend": "slurm", "id": "7", "host": "h", "submitted": "", "cluster": cluster}
    files.job.write_text(json.dumps({"version": "1.2", **values}))
    with pytest.raises(Trouble, match=r"job\.json: cluster: "):
        read_job(files)


def test_variables_of_no_scheduler_are_not_taken_from_a_record(
    tmp_path: Path, host: HostContext, fakes: Fakes
) -> None:
    files = submitted(tmp_path, host, fakes, "701\n")
    job = read_job(files)
    assert job is not None
    altered = job.model_copy(update={"environment": {"LD_PRELOAD": "/evil.so"}})
    (fakes.folder / "squeue").write_text('#!/bin/bash\necho "701|RUNNING|$LD_PRELOAD"\n')
    assert Queues(host).entry(Job.model_validate(altered.model_dump())).state == "running"


def test_a_lost_job_is_looked_for_where_it_was_sent(
    tmp_path: Path, host: HostContext, fakes: Fakes
) -> None:
    files = prepared(tmp_path, "slurm")
    files.job_script.write_text("#!/bin/bash\n#SBATCH --clusters=gpu\n")
    fakes.says("sbatch", "hello\n")
    with pytest.raises(Trouble):
        start_run(files, host)
    (fakes.folder / "squeue").write_text(
        f"#!/bin/bash\n[[ $* == *--clusters=gpu*--user=ada* ]] && echo '7|{files.root}'; true\n"
    )
    end = "where it is, wait for its end or end it first: scancel --clusters=gpu 7; "
    for who in (host, replace(host, user="bob")):
        assert end in refusal(files, who)
    fakes.says("squeue", "")
    (fakes.folder / "squeue").write_text("#!/bin/bash\ntrue\n")
    refuse_busy(files, host)
    assert refusal(files, replace(host, user="bob")) == (
        f"{files.root}: whether Slurm took its job is not known, and Slurm may not show jobs of "
        "account ada to bob\n-> resume it when the scheduler answers, on a host of the cluster"
    )


def test_nodes_are_counted_on_the_cluster_that_is_asked(
    tmp_path: Path, host: HostContext, fakes: Fakes
) -> None:
    site = parse_site(
        {"name": "kite", "description": "", "scheduler": "slurm", "directives": ["-M gpu"]}, "x"
    )
    files = prepared(tmp_path, "slurm")
    placement = read_manifest(files).circumstance.placement
    fakes.says("sinfo", "g1\ng2\n")
    with pytest.raises(Trouble) as caught:
        refuse_too_many_nodes(placement, 3, host, site)
    assert str(caught.value) == (
        "nnodes: 3 asked for, Slurm has 2 on cluster gpu: the job would wait for ever\n"
        "-> use at most 2, or name another partition in others"
    )
    assert fakes.calls() == ["sinfo --clusters=gpu --noheader --format=%N --Node"]
