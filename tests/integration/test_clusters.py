"""Whole runs on real schedulers, Slurm and Grid Engine, with two nodes, private to the tests."""

from __future__ import annotations

import json
import re
import shlex
import signal
import time
from pathlib import Path
from typing import Iterator

import pytest

from tests.integration.clusters import SERVERS, Cluster, logs, started
from tests.schedulers.gridengine_server import GridEngineServer

pytestmark = [pytest.mark.image, pytest.mark.slow]


@pytest.fixture(scope="module", params=SERVERS)
def cluster(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    image: str,
    data_template: Path,
) -> Iterator[Cluster]:
    del image
    with started(request.param, tmp_path_factory.mktemp(request.param), data_template) as cluster:
        yield cluster


def test_two_nodes_and_the_same_bits_on_this_machine(cluster: Cluster) -> None:
    bench = cluster.bench
    config = cluster.config("two", jobname="2nodes", stdout="$JOB_ID.o.log", others={"j": "y"})
    done = bench.bundle("submit", "--wait", config)
    run = Path(done.stdout.splitlines()[0].partition("run  ")[2])
    assert f"job  {cluster.jobs(run)[0]} of {cluster.scheduler}\n" in done.stdout
    assert cluster.row(run)["state"] == "done"
    # Standard error is joined to standard output, as the original's users write it.
    assert sorted(path.name for path in (run / "logs").iterdir()) == [
        f"{cluster.jobs(run)[0]}.o.log", "scheduler.log",
    ]  # fmt: skip
    assert "epoch    step" in bench.bundle("logs", run).stdout
    ranks = json.loads((run / "result.json").read_text())["observed"]["ranks"]
    if cluster.scheduler == "gridengine":
        assert sorted((rank["host"], rank["local_rank"]) for rank in ranks) == [
            ("n1", 0),
            ("n2", 0),
        ]
    else:  # both nodes are this host
        assert "NumNodes=2 " in cluster.server.show(cluster.jobs(run)[0])
    assert bench.bundle("verify", run).stdout == "verified: nothing differs\n"
    again = bench.bundle("rerun", "--site", "local", run)
    assert again.stdout.splitlines()[-1].startswith("  rerun_of: absent | ")
    assert "verdict: identical\n" in again.stdout
    assert "  placement.site: kite | local\n" in again.stdout
    assert f"  placement.scheduler: {cluster.scheduler} | local\n" in again.stdout
    assert not list(bench.root.parent.rglob("owned"))


@pytest.mark.parametrize(("nodes", "ranks"), [(1, 2), (2, 1)])
def test_the_projects_own_profile_as_it_is(cluster: Cluster, nodes: int, ranks: int) -> None:
    name = f"stock{nodes}"
    config = cluster.config(name, site=cluster.scheduler, nnodes=nodes, ranks_per_node=ranks)
    cluster.wait_for_free_nodes()
    run = cluster.bench.submit(config)
    observed = json.loads((run / "result.json").read_text())["observed"]["ranks"]
    assert len(observed) == 2
    if cluster.scheduler == "gridengine":  # its environment mpi goes round the hosts
        assert {rank["host"] for rank in observed} == {"n1", "n2"}
        said = (run / "logs" / "stderr.log").read_text()
        assert (
            "bundle: warning: the run wants 1 host with 2 ranks, and Grid Engine gave it slots: "
            in said
        ) == (nodes == 1)


def test_slots_that_fall_on_too_few_hosts_are_named(cluster: Cluster) -> None:
    if cluster.scheduler != "gridengine":
        pytest.skip("Slurm gives the nodes that it is asked for")
    bench = cluster.bench
    cluster.wait_for_free_nodes()
    assert bench.submit(cluster.config("one", site="kite-filled", nnodes=1, ranks_per_node=2))
    cluster.wait_for_free_nodes()
    done = bench.bundle("submit", "--wait", cluster.config("two", site="kite-filled"), code=2)
    found = re.search(r"Grid Engine gave it slots: (n[12] 2)\n", done.stderr)
    assert found, done.stderr
    assert done.stderr.endswith(
        "bundle: the run wants 2 hosts with 1 rank each, and Grid Engine gave it slots: "
        f"{found[1]}\n-> use a parallel environment whose allocation_rule is the number of ranks "
        "on a node (qconf -sp NAME shows it, qconf -spl lists them; site profile: "
        "parallel_environment)\n"
    )


def test_resource_types_of_grid_engine(cluster: Cluster) -> None:
    if cluster.scheduler != "gridengine":
        pytest.skip("Slurm has node types by directives alone")
    run = cluster.bench.submit(cluster.config("types", site="kite-types", nnodetype="f_node"))
    observed = json.loads((run / "result.json").read_text())["observed"]["ranks"]
    # Which of the two comes first is up to Grid Engine.
    assert sorted((rank["host"], rank["local_rank"]) for rank in observed) == [("n1", 0), ("n2", 0)]


@pytest.mark.long
def test_a_local_run_again_on_the_cluster(cluster: Cluster) -> None:
    bench = cluster.bench
    run = bench.submit(bench.config("here"))
    again = bench.bundle("rerun", "--site", "kite", run)
    assert "verdict: identical\n" in again.stdout
    assert "  placement.site: local | kite\n" in again.stdout


@pytest.mark.long
def test_two_nodes_with_two_ranks_each_on_one_process_and_back(cluster: Cluster) -> None:
    """On one process here, on the nodes again, and on half of the nodes."""
    bench = cluster.bench
    settings = {"ranks_per_node": 2, "batchsize": 2, "communicator": "hierarchical"}
    run = bench.submit(cluster.config("square", **settings))
    single = bench.bundle("rerun", "--site", "local", "--processes", "1", run)
    assert "verdict: identical\n" in single.stdout
    assert "  placement.processes: absent | 1\n" in single.stdout
    root = Path(single.stderr.partition("running again in ")[2].splitlines()[0])
    back = bench.bundle("rerun", "--site", "kite", "--processes", "4", "--nodes", "2", root)
    assert "verdict: identical\n" in back.stdout
    # And with half of the nodes: two processes on one, whose job goes on with a stopped run.
    stopped = cluster.start(cluster.config("stopped", epoch=8, checkpoint_interval=1, **settings))
    cluster.wait_for_steps(stopped, 4)
    bench.bundle("cancel", stopped)
    cluster.wait_for_queue(stopped)
    bench.bundle("resume", "--processes", "2", "--nodes", "1", "--wait", stopped)
    straight = bench.bundle("rerun", "--site", "local", "--processes", "2", stopped)
    assert "verdict: identical\n" in straight.stdout


@pytest.mark.long
def test_four_ranks_checked_slice_by_slice_on_one_process_and_on_the_nodes(
    cluster: Cluster,
) -> None:
    bench = cluster.bench
    settings = {"ranks_per_node": 2, "batchsize": 2, "communicator": "hierarchical"}
    run = bench.submit(cluster.config("sliced", epoch=2, checkpoint_archive=2, **settings))
    single = bench.bundle("rerun", run, "--slices", "3", "--site", "local", "--processes", "1")
    assert "verdict: identical, by 3 slices\n" in single.stdout
    spread = bench.bundle("rerun", run, "--slices", "2", "--site", "kite")
    assert "verdict: identical, by 2 slices\n" in spread.stdout
    folder = Path(spread.stdout.partition("  b: ")[2].splitlines()[0])
    slices = [path.parent for path in folder.glob("*/job.json")]
    jobs = {cluster.jobs(path)[0] for path in slices}
    assert len(jobs) == 2


@pytest.mark.long
def test_over_the_walltime_to_the_end_in_a_chain(cluster: Cluster) -> None:
    bench = cluster.bench
    # So short that each job ends after its first step. Slurm counts in minutes; Grid Engine would
    # end the job in the middle of its start, so there the profile asks for more.
    config = cluster.config("chain", site="kite-loose", epoch=1, walltime="00:00:01")
    done = bench.bundle("submit", "--wait", "--chain", "3", config)
    run = Path(done.stdout.splitlines()[0].partition("run  ")[2])
    first, *chain = cluster.jobs(run)
    assert f"then {', '.join(chain)}, each where the one before was stopped\n" in done.stdout
    assert json.loads((run / "result.json").read_text())["observed"]["resumed_at"] == [1, 2]
    assert "resumed after step 1 of 3\n" in done.stdout
    assert "resumed after step 2 of 3\n" in done.stdout
    long = bench.submit(bench.config("long", epoch=1))
    assert "verdict: identical\n" in bench.bundle("compare", long, run).stdout
    cluster.wait_for_queue(run)
    # The follow-up that was left over ended at once and touched nothing.
    assert bench.bundle("verify", run).stdout == "verified: nothing differs\n"
    assert cluster.row(run)["state"] == "done"
    assert first not in chain


@pytest.mark.long
def test_ended_by_the_scheduler_at_its_limit_and_gone_on_with(cluster: Cluster) -> None:
    """The trainer knows no deadline here: the scheduler's own limit ends the jobs."""
    bench = cluster.bench
    config = cluster.config("limit", site="kite-short", epoch=30, checkpoint_interval=1)
    run = cluster.start(config, "--chain", "9")
    first, *chain = cluster.jobs(run)
    cluster.wait_for_steps(run, 2)
    # Grid Engine's limit is fixed when a job is submitted: that of the site's profile ends it.
    if not isinstance(cluster.server, GridEngineServer):
        cluster.server.end_soon(first)
    cluster.wait_for_state(run, "done", "failed", "stopped", seconds=1200)
    assert cluster.row(run)["state"] == "done"
    assert cluster.server.reached_its_limit(first)
    resumed = json.loads((run / "result.json").read_text())["observed"]["resumed_at"]
    assert resumed and all(2 <= step < 90 for step in resumed)
    long = bench.submit(bench.config("unlimited", epoch=30))
    assert "verdict: identical\n" in bench.bundle("compare", long, run).stdout
    assert bench.bundle("verify", run).stdout == "verified: nothing differs\n"
    cluster.wait_for_queue(run)
    assert first not in chain


@pytest.mark.long
def test_killed_without_a_word_and_gone_on_with(cluster: Cluster) -> None:
    run = cluster.start(cluster.config("killed", epoch=4, checkpoint_interval=1), "--chain", "1")
    cluster.wait_for_steps(run, 3)
    cluster.server.kill(cluster.jobs(run)[0])
    cluster.wait_for_state(run, "done", "failed", "stopped")
    assert json.loads((run / "result.json").read_text())["observed"]["resumed_at"]
    long = cluster.bench.submit(cluster.bench.config("never-killed", epoch=4))
    compared = cluster.bench.bundle("compare", long, run)
    assert "verdict: identical\n" in compared.stdout


#: Parts of a path that Slurm and Grid Engine replace, or read as a sign of their own.
ODD_FOLDERS = {
    "slurm": ["50%j", "10%decay", "a\\b%j", "100%%"],
    "gridengine": ["$JOB_ID", "x$HOME", "a:b,c", "50%j\\d"],
}


@pytest.mark.long
def test_runs_in_folders_with_patterns_in_their_names(cluster: Cluster) -> None:
    for number, folder in enumerate(ODD_FOLDERS[cluster.scheduler]):
        config = cluster.config(
            f"odd{number}", nnodes=1, epoch=1, out=str(cluster.bench.root / folder)
        )
        done = cluster.bench.bundle("submit", "--wait", config)
        (run,) = (cluster.bench.root / folder).iterdir()
        assert (run / "DONE").exists()
        lost = "there will be no logs/scheduler.log" in done.stderr
        assert lost == ("$" in folder), done.stderr
        assert (run / "logs" / "scheduler.log").exists() != lost


#: Epochs of three steps: enough to meet a run in its middle.
EPOCHS = 12


def gone_on_with(cluster: Cluster, run: Path) -> None:
    """A follow-up job finished the run, from a checkpoint, with the bits of a run never ended."""
    cluster.wait_for_state(run, "done", "failed", "stopped")
    assert not (run / "failure.json").exists(), logs(run)
    assert json.loads((run / "result.json").read_text())["observed"]["resumed_at"], logs(run)
    if cluster.never_ended is None:
        cluster.never_ended = cluster.bench.submit(
            cluster.bench.config("never-ended", epoch=EPOCHS)
        )
    compared = cluster.bench.bundle("compare", cluster.never_ended, run)
    assert "verdict: identical\n" in compared.stdout


def under_way(cluster: Cluster, name: str) -> Path:
    config = cluster.config(name, epoch=EPOCHS, checkpoint_interval=1)
    run = cluster.start(config, "--chain", "1")
    cluster.wait_for_steps(run, 3)
    return run


@pytest.mark.long
def test_a_node_without_the_job_script_dies(cluster: Cluster) -> None:
    run = under_way(cluster, "node")
    cluster.lose_a_node()
    gone_on_with(cluster, run)


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_rank_is_ended(cluster: Cluster, number: signal.Signals) -> None:
    run = under_way(cluster, f"rank{number.value}")
    cluster.end_a_rank(1, number)
    gone_on_with(cluster, run)


@pytest.mark.long
def test_preempted_with_a_grace_time(cluster: Cluster) -> None:
    """Slurm's TERM goes to the daemons and ranks at once, KILL to all after the grace time."""
    if isinstance(cluster.server, GridEngineServer):
        pytest.skip("Grid Engine stops or requeues what it preempts; it does not end it")
    run = under_way(cluster, "preempted")
    cluster.server.preempt()
    gone_on_with(cluster, run)


@pytest.mark.long
def test_a_scancel_or_qdel_of_one_job(cluster: Cluster) -> None:
    run = under_way(cluster, "ended")
    cluster.server.cancel(cluster.jobs(run)[0])
    gone_on_with(cluster, run)


@pytest.mark.long
def test_suspended_and_let_go_on(cluster: Cluster) -> None:
    """By a person, or for jobs of a queue that goes before."""
    run = under_way(cluster, "suspended")
    (job, *_) = cluster.jobs(run)
    cluster.server.suspend(job)
    deadline = time.monotonic() + 60
    while cluster.row(run)["why"] != "suspended":
        assert time.monotonic() < deadline, f"{cluster.row(run)}\n{logs(run)}"
        time.sleep(0.5)
    time.sleep(15)  # longer than a queue's notice
    assert cluster.row(run)["state"] == "running", logs(run)
    cluster.server.unsuspend(job)
    cluster.wait_for_state(run, "done", "failed", "stopped")
    assert json.loads((run / "result.json").read_text())["observed"]["resumed_at"] == [], logs(run)
    cluster.wait_for_queue(run)


def test_the_doctor_looks_at_two_nodes(cluster: Cluster) -> None:
    words = ["doctor", "--stack", "cpu", "--site", "kite", "--job", "--nodes", "2"]
    done = cluster.bench.bundle(*words, code=None)
    said = [line for line in done.stdout.splitlines() if " job" in line[:10]]
    assert said[0].startswith("ok    job "), done.stdout
    assert [line.split()[0] for line in said] == ["ok"] * len(said), done.stdout
    assert any(line.startswith("ok    job: ranks ") and " on 2 nodes" in line for line in said)
    (messages,) = [line for line in said if line.startswith("ok    job: messages ")]
    assert messages.endswith("  2 ranks exchanged all kinds of messages over pml ob1, btl self tcp")
    more = cluster.bench.bundle(*words[:-1], "3", code=2)
    there = "Slurm has 2 here: the job would wait for ever"
    there = there if cluster.scheduler == "slurm" else "site kite has 2"
    assert f"nnodes: 3 asked for, {there}\n" in more.stdout


def test_cancel_ends_the_job_and_its_follow_ups(cluster: Cluster) -> None:
    run = cluster.start(cluster.config("endless", epoch=1000), "--chain", "2")
    assert len(cluster.jobs(run)) == 3
    cluster.wait_for_steps(run, 2)
    row = cluster.row(run)
    assert (row["state"], row["why"]) == ("running", None)
    busy = cluster.bench.bundle("resume", run, code=2)
    assert busy.stderr == (
        f"bundle: {run}: its job still runs\n"
        f"-> to end it first: python bundle.py cancel {shlex.quote(str(run))}\n"
    )
    assert cluster.bench.bundle("cancel", run).stdout == "cancelled\n"
    cluster.wait_for_state(run, "cancelled", "failed", "stopped")
    # Grid Engine's warning comes first, so the run stops at a checkpoint.
    assert (run / "stopped.json").exists() == (cluster.scheduler != "slurm")
    assert cluster.row(run)["state"] == "cancelled"
    cluster.wait_for_queue(run)
    assert cluster.bench.bundle("cancel", run).stdout == "had ended before\n"
    assert not (run / "DONE").exists()


def test_a_job_that_waits_and_fails(cluster: Cluster) -> None:
    slurm = cluster.scheduler == "slurm"
    hold = {"hold": None} if slurm else {"h": None}
    run = cluster.start(cluster.config("broken", others=hold), "--chain", "1")
    first = cluster.jobs(run)[0]
    row = cluster.wait_for_state(run, "queued")
    assert (row["job"], row["why"]) == (first, "JobHeldUser" if slurm else "held")
    listed = cluster.bench.bundle("status", run).stdout.splitlines()
    assert listed[-1].endswith(f"; {row['why']}")
    image = cluster.bench.data / "train" / "0 it's" / 'image "0".jpg'
    good = image.read_bytes()
    image.write_bytes(good[:-100])
    try:
        cluster.server.release(*cluster.jobs(run))
        cluster.wait_for_state(run, "failed")
    finally:
        image.write_bytes(good)
    cluster.wait_for_exit_code(run)
    failure = json.loads((run / "failure.json").read_text())
    assert 'image "0".jpg' in failure["message"]
    code = (run / "exit_code").read_bytes()
    cluster.wait_for_queue(run)
    # The follow-up had nothing to do and left everything as it was.
    assert json.loads((run / "failure.json").read_text()) == failure
    assert (run / "exit_code").read_bytes() == code
    assert cluster.row(run)["state"] == "failed"


@pytest.mark.long
def test_the_scheduler_is_away_for_a_while(cluster: Cluster) -> None:
    bench = cluster.bench
    run = cluster.start(cluster.config("patient", epoch=1000))
    ended = bench.submit(bench.config("ended"))
    cluster.wait_for_steps(run, 2)
    cluster.server.stop_controller()
    try:
        done = bench.bundle("status", "--json", ended, run)
        rows = json.loads(done.stdout)
        assert [row["state"] for row in rows] == ["done", "unknown"]
        title = {"slurm": "Slurm", "gridengine": "Grid Engine"}[cluster.scheduler]
        assert done.stderr.startswith(f"bundle: warning: {title} does not answer: ")
        assert done.stderr.endswith("; the state of its jobs is not known\n")
        assert rows[1]["why"].startswith(f"{title} does not answer: ")
        refused = bench.bundle("resume", run, code=2)
        assert f"{run}: {title} does not answer: " in refused.stderr
        assert ": whether its job still runs is not known\n" in refused.stderr
        cancelled = bench.bundle("cancel", run, code=2)
        assert f"{run}: {title} does not answer: " in cancelled.stderr
        before = sorted(bench.out.iterdir())
        submit = bench.bundle("submit", cluster.config("late"), code=2)
        assert title in submit.stderr or "did not answer" in submit.stderr
        left = [path for path in bench.out.iterdir() if path not in before]
        assert all(not (path / "job.json").exists() for path in left)
    finally:
        cluster.server.start_controller()
    assert cluster.wait_for_state(run, "running", "done", "failed")["state"] == "running"
    steps = (run / "results" / "trail" / "rank-00000.jsonl").read_bytes().count(b"\n")
    cluster.wait_for_steps(run, steps + 2)
    assert bench.bundle("cancel", run).stdout == "cancelled\n"
    cluster.wait_for_state(run, "cancelled")


def test_cancel_may_save_first(cluster: Cluster) -> None:
    run = cluster.start(cluster.config("saving", epoch=1000), "--chain", "1")
    cluster.wait_for_steps(run, 2)
    done = cluster.bench.bundle("cancel", "--save", run)
    stop = json.loads((run / "stopped.json").read_text())
    assert done.stdout == f"cancelled after step {stop['step']}, which is saved\n"
    cluster.wait_for_state(run, "cancelled")
    cluster.wait_for_queue(run)
    dry = cluster.bench.bundle("resume", run, "--dry-run")
    assert f"goes on after step {stop['step']} of " in dry.stderr


def test_what_the_scheduler_refuses(cluster: Cluster) -> None:
    bench = cluster.bench
    slurm = cluster.scheduler == "slurm"
    before = sorted(bench.out.glob("*")) if bench.out.exists() else []
    wrong = {"partition": "nowhere"} if slurm else {"q": "nowhere.q"}
    done = bench.bundle("submit", cluster.config("wrong", others=wrong), code=2)
    words = (
        "Slurm refuses the job: sbatch: error: invalid partition specified: nowhere\n"
        "sbatch: error: Batch job submission failed: Invalid partition name specified"
        if slurm
        else "Grid Engine refuses the job: Unable to run job: Job was rejected because job "
        'requests unknown queue "nowhere.q"\nExiting.'
    )
    assert done.stderr.endswith(
        f"{words}\n-> change what it names in the config (or the site profile), then submit again\n"
    )
    more = bench.bundle("submit", cluster.config("many", nnodes=3), code=2)
    if slurm:
        assert more.stderr == (
            "bundle: nnodes: 3 asked for, Slurm has 2 here: the job would wait for ever\n"
            "-> use at most 2, or name another partition in others\n"
        )
    else:
        assert more.stderr == (
            "bundle: nnodes: 3 asked for, site kite has 2\n"
            "-> change these keys; docs/configuration.md lists every key\n"
        )
    longer = bench.bundle("submit", cluster.config("long", walltime="01:00:01"), code=2)
    assert longer.stderr == (
        "bundle: walltime: 01:00:01 asked for, site kite allows 01:00:00; "
        "a longer run goes on by itself with submit --chain\n"
        "-> change these keys; docs/configuration.md lists every key\n"
    )
    assert (sorted(bench.out.glob("*")) if bench.out.exists() else []) == before


@pytest.mark.long
def test_the_warning_signal_and_resume(cluster: Cluster) -> None:
    if isinstance(cluster.server, GridEngineServer):
        pytest.skip("Grid Engine sends it when it ends a job: see the test of cancel")
    bench = cluster.bench
    run = cluster.start(cluster.config("warned", epoch=12))
    cluster.wait_for_steps(run, 2)
    cluster.server.warn(cluster.jobs(run)[0])
    cluster.wait_for_state(run, "stopped")
    assert json.loads((run / "stopped.json").read_text())["reason"] == "signal"
    first = cluster.jobs(run)
    done = bench.bundle("resume", "--wait", run)
    assert "resumed after step " in done.stdout
    assert cluster.row(run)["state"] == "done"
    assert json.loads((run / "job.json").read_text())["earlier"] == first
