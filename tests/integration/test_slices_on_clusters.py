"""Slices as one job array of a real scheduler: each task is a job of its own run directory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest

from tests.integration.clusters import Cluster, logs
from tests.integration.test_clusters import cluster
from tests.waiting import PATIENCE

__all__ = ["cluster"]

pytestmark = [pytest.mark.image, pytest.mark.slow, pytest.mark.long]

SETTINGS: Dict[str, Any] = {"epoch": 2, "checkpoint_archive": 3}


def divide(cluster: Cluster, run: Path, slices: int) -> Tuple[subprocess.Popen[str], List[Path]]:
    """The process that waits for slices of a run on the cluster, and their run directories, all of
    which have a job."""
    bench = cluster.bench
    argv = [
        sys.executable, str(bench.project / "bundle.py"), "rerun", str(run),
        "--slices", str(slices), "--site", "kite",
    ]  # fmt: skip
    gatherer = subprocess.Popen(
        argv, cwd=bench.root, env={**os.environ, **bench.environment},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert gatherer.stderr is not None
    found: List[Path] = []
    said = ""
    while len(found) < slices:
        line = gatherer.stderr.readline()
        said += line
        assert line, said
        if ": job " in line:
            found.append(Path(line.rstrip("\n").partition(" in ")[2]))
    return gatherer, found


def task_ids(cluster: Cluster, slices: List[Path]) -> List[str]:
    return [cluster.jobs(one)[0] for one in slices]


def test_one_task_ended_is_no_matter_of_the_others(cluster: Cluster) -> None:
    bench = cluster.bench
    run = bench.submit(bench.config("divided", **SETTINGS, stdout="$JOB_ID.o.log"))
    gatherer, slices = divide(cluster, run, 4)
    gatherer.send_signal(signal.SIGKILL)
    gatherer.communicate()
    mark = {"slurm": "_", "gridengine": "."}[cluster.scheduler]
    ids = task_ids(cluster, slices)
    number = ids[0].partition(mark)[0]
    assert ids == [f"{number}{mark}{task}" for task in range(1, 5)]
    # The last two wait for nodes; one of them is cancelled. The first is killed while it runs.
    cluster.wait_for_state(slices[0], "running")
    assert bench.bundle("cancel", slices[3]).stdout == "cancelled\n"
    assert cluster.row(slices[3])["state"] == "cancelled"
    assert cluster.row(slices[2])["state"] in ("queued", "running")
    cluster.wait_for_steps(slices[0], 1)
    cluster.server.kill(ids[0])
    cluster.wait_for_state(slices[0], "failed", "unknown")
    cluster.wait_for_queue(slices[0])
    done = bench.bundle("resume", "--wait", slices[0])
    assert cluster.row(slices[0])["state"] == "done", done.stderr
    job = json.loads((slices[0] / "job.json").read_text())
    assert job["earlier"] == [ids[0]]
    assert mark not in job["id"]
    for one in slices[1:3]:
        cluster.wait_for_state(one, "done")
    assert (slices[1] / "logs" / "scheduler.log").exists()
    shown = bench.bundle("logs", slices[1])
    assert "epoch" in shown.stdout or "step" in shown.stdout, logs(slices[1])
    verdict = bench.bundle("rerun", run, "--gather", slices[0].parent)
    assert "verdict: identical, by 4 slices\n" in verdict.stdout
    assert mark not in cluster.jobs(slices[3])[0]  # it went on as a job of its own


def test_all_tasks_end_with_the_one_who_waits_for_them(cluster: Cluster) -> None:
    bench = cluster.bench
    run = bench.submit(bench.config("ended", **SETTINGS))
    gatherer, slices = divide(cluster, run, 3)
    gatherer.send_signal(signal.SIGINT)
    _, said = gatherer.communicate(timeout=PATIENCE)
    assert gatherer.returncode == 130, said
    assert said.endswith(
        f"bundle: interrupted: the jobs were cancelled; the slices stay in {slices[0].parent}\n"
    )
    for one in slices:
        cluster.wait_for_state(one, "cancelled")
        cluster.wait_for_queue(one)
