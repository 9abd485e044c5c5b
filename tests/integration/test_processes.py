"""Ranks on other numbers of processes, tried from outside: rerun, resume, the key ``processes``."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any, Dict, List

import pytest

from tests.integration.conftest import Bench
from tests.waiting import wait_until

pytestmark = [pytest.mark.image, pytest.mark.slow]

#: Four ranks of two samples, 3 steps an epoch; in rank order, which no tree of four ranks is.
RANKS: Dict[str, Any] = {"ranks_per_node": 4, "batchsize": 2, "communicator": "single_node"}


def manifest_of(run: Path) -> Dict[str, Any]:
    value: Dict[str, Any] = json.loads((run / "manifest.json").read_text())
    return value


def files_of(run: Path) -> Dict[Path, bytes]:
    return {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def four(finished: tuple[Bench, Path]) -> tuple[Bench, Path]:
    """A run of four ranks on four processes, which no test changes."""
    bench, _ = finished
    return bench, bench.submit(bench.config("four", **RANKS))


def rerun(bench: Bench, run: Path, *options: str) -> Path:
    done = bench.bundle("rerun", *options, run)
    assert "verdict: identical\n" in done.stdout
    return Path(done.stderr.partition("running again in ")[2].splitlines()[0])


def test_rerun_on_fewer_processes_and_back(four: tuple[Bench, Path]) -> None:
    bench, run = four
    single = rerun(bench, run, "--processes", "1")
    assert manifest_of(single)["circumstance"]["placement"]["processes"] == 1
    assert json.loads((single / "result.json").read_text())["observed"]["processes"] == 1
    shown = bench.bundle("show", single).stdout
    assert "world      4 ranks on 1 node, single_node\n" in shown
    assert "processes  1 process on 1 node computes the ranks\n" in shown
    back = rerun(bench, single, "--processes", "4")
    assert json.loads((back / "result.json").read_text())["observed"]["processes"] == 4
    assert "processes  " not in bench.bundle("show", back).stdout
    three = bench.bundle("rerun", "--processes", "3", "--dry-run", run)
    assert "    -np 3 \\\n" in three.stdout
    assert three.stderr.endswith(
        "bundle: 3 processes on 1 node compute the 4 ranks: a step takes up to 2 times as long as "
        "with 4 processes\n"
    )
    assert bench.bundle("verify", single).stdout == "verified: nothing differs\n"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--processes", "0"], "processes: 0 asked for, a run needs at least 1\n"
         "-> use 1 to 4 processes\n"),
        (["--processes", "5"], "processes: 5 asked for, the run has 4 ranks: each process computes "
         "at least one\n-> use 1 to 4 processes\n"),
        (["--nodes", "2"], "nodes: 2 asked for, the site has 1\n-> use 1\n"),
    ],
)  # fmt: skip
def test_numbers_that_are_refused(four: tuple[Bench, Path], options: List[str], text: str) -> None:
    bench, run = four
    before = sorted(bench.out.iterdir()), files_of(run)
    assert bench.bundle("rerun", *options, run, code=2).stderr == f"bundle: {text}"
    assert (sorted(bench.out.iterdir()), files_of(run)) == before


def test_submitted_for_fewer_processes(four: tuple[Bench, Path]) -> None:
    """The key decides no bit: the run is another's equal, and of its identity."""
    bench, run = four
    other = bench.submit(bench.config("two", processes=2, **RANKS))
    assert manifest_of(other)["identity_digest"] == manifest_of(run)["identity_digest"]
    assert manifest_of(other)["circumstance"]["placement"]["processes"] == 2
    assert "verdict: identical\n" in bench.bundle("compare", run, other).stdout
    for number, problem in (
        (5, "processes: 5 asked for, the run has 4 ranks: each process computes at least one\n"
            "-> use 1 to 4 processes\n"),
        (0, None),
    ):  # fmt: skip
        config = bench.config("wrong", processes=number, **RANKS)
        said = bench.bundle("submit", config, code=2).stderr
        assert said == f"bundle: {problem}" if problem else "a whole number >= 1, or null" in said


def wait_for_steps(bench: Bench, run: Path, steps: int) -> None:
    trail = run / "results" / "trail" / "rank-00003.jsonl"

    def done() -> bool:
        row = json.loads(bench.bundle("status", "--json", run).stdout)[0]
        assert row["state"] != "done", row
        return trail.exists() and trail.read_bytes().count(b"\n") >= steps

    wait_until(done)


@pytest.mark.long
def test_resumed_on_other_processes_again_and_again(bench: Bench) -> None:
    """4 -> 2 -> 1 -> 4 processes, killed at random steps between: the run never stopped."""
    dice = random.Random()
    settings = {**RANKS, "epoch": 7, "checkpoint_interval": 1}
    run = Path(json.loads(bench.bundle("submit", "--json", bench.config(**settings)).stdout)["run"])
    done = 0
    for processes in (2, 1, 4):
        done += dice.randint(1, 4)
        wait_for_steps(bench, run, done)
        bench.bundle("cancel", run)
        told = bench.bundle("resume", "--processes", str(processes), run)
        script = run / f"job-{processes}-on-1.sh"
        job = json.loads((run / "job.json").read_text())
        if processes == 4:  # as it was submitted: by its own script
            assert not script.exists() and job["script"] is None
        else:
            assert "--processes" in script.read_text()
            assert (job["processes"], job["nodes"], job["script"]) == (processes, 1, script.name)
            assert f"{processes} process" in told.stderr and "the 4 ranks" in told.stderr
            assert f"processes  {processes} process" in bench.bundle("show", run).stdout
    assert bench.bundle("logs", "--follow", run, code=None).returncode == 0
    straight = bench.submit(bench.config("straight", **settings))
    assert "verdict: identical\n" in bench.bundle("compare", straight, run).stdout
    assert bench.bundle("verify", run).stdout == "verified: nothing differs\n"
    resumed = json.loads((run / "result.json").read_text())["observed"]["resumed_at"]
    assert 1 <= len(resumed) <= 3


@pytest.mark.long
def test_a_chain_of_jobs_on_fewer_processes(bench: Bench) -> None:
    """The follow-up jobs have the script of the first."""
    settings = {**RANKS, "walltime": "00:00:01"}
    done = bench.bundle("submit", "--wait", bench.config(**settings), code=75)
    run = Path(done.stdout.splitlines()[0].partition("run  ")[2])
    plan = bench.bundle("resume", "--processes", "2", "--dry-run", run)
    assert plan.stderr.endswith("; walltime 00:00:01 becomes 00:00:02\n")
    assert "    --processes" in plan.stdout or " --processes 2 --nodes 1" in plan.stdout
    assert not (run / "job-2-on-1.sh").exists()
    bench.bundle("resume", "--processes", "2", "--chain", "9", "--wait", run)
    result = json.loads((run / "result.json").read_text())
    assert result["observed"]["processes"] == 2
    straight = bench.submit(bench.config("straight", **RANKS))
    assert "verdict: identical\n" in bench.bundle("compare", straight, run).stdout


def test_a_resumption_that_is_refused(bench: Bench) -> None:
    done = bench.bundle("submit", "--wait", bench.config(**RANKS, walltime="00:00:01"), code=75)
    run = Path(done.stdout.splitlines()[0].partition("run  ")[2])
    before = files_of(run)
    for options, text in (
        (["--processes", "0"], "processes: 0 asked for, a run needs at least 1\n"
         "-> use 1 to 4 processes\n"),
        (["--processes", "5"], "processes: 5 asked for, the run has 4 ranks: each process computes "
         "at least one\n-> use 1 to 4 processes\n"),
        (["--processes", "2", "--nodes", "2"], "nodes: 2 asked for, the site has 1\n-> use 1\n"),
    ):  # fmt: skip
        assert bench.bundle("resume", *options, run, code=2).stderr == f"bundle: {text}"
    assert files_of(run) == before
    # A script that was altered after its job is told from the one that ran.
    bench.bundle("resume", "--processes", "1", "--chain", "9", "--wait", run)
    script = run / "job-1-on-1.sh"
    script.write_text(script.read_text() + "\n")
    problems = json.loads(bench.bundle("verify", "--json", run, code=1).stdout)["problems"]
    assert [text.partition(": sha256")[0] for text in problems] == ["job-1-on-1.sh: was altered"]
