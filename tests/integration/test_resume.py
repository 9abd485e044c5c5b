"""resume, tried from outside: the verb, the key, walltime and warning signal, and refusals."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import List

import pytest

from tests.integration.conftest import Bench, complaints
from tests.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.image


def stopped_by_walltime(bench: Bench) -> Path:
    """A run of 3 steps whose walltime is over after the first."""
    done = bench.bundle("submit", "--wait", bench.config(walltime="00:00:01"), code=75)
    run = Path(done.stdout.splitlines()[0].partition("run  ")[2])
    assert done.stderr.endswith(
        "bundle: stopped after step 1 of 3: the walltime was nearly over\n"
        f"-> python bundle.py resume {shlex.quote(str(run))}\n"
    )
    return run


def state(bench: Bench, run: Path) -> str:
    return str(json.loads(bench.bundle("status", "--json", run).stdout)[0]["state"])


def runs_in(bench: Bench) -> List[str]:
    return sorted(path.name for path in bench.out.iterdir())


def test_stopped_by_the_walltime_and_finished_in_a_new_run(
    bench: Bench, finished: tuple[Bench, Path]
) -> None:
    run = stopped_by_walltime(bench)
    row = json.loads(bench.bundle("status", "--json", run).stdout)[0]
    assert row["state"] == "stopped"
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    told = bench.bundle("resume", "--dry-run", run)
    assert told.stderr == "bundle: goes on after step 1 of 3, from step-000000001.npz\n"
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before

    again = bench.submit(bench.config("again", resume=str(run)))
    assert "identical" in bench.bundle("compare", finished[1], again).stdout
    assert "resumed    after step 1 of " + str(run) in bench.bundle("show", again).stdout
    assert bench.bundle("verify", again).stdout == "verified: nothing differs\n"
    assert json.loads((again / "result.json").read_text())["observed"]["resumed_at"] == [1]
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before

    # A rerun does not stop on the way, and has the same bits.
    rerun = bench.bundle("rerun", again)
    assert "verdict: identical\n" in rerun.stdout
    root = Path(rerun.stderr.partition("running again in ")[2].splitlines()[0])
    manifest = json.loads((root / "manifest.json").read_text())
    assert manifest["circumstance"]["resumed"] is None
    assert json.loads((root / "result.json").read_text())["observed"]["resumed_at"] == []

    # Nothing is left to do for a run that is complete.
    done = bench.bundle("resume", again, code=2)
    assert done.stderr == (
        f"bundle: {again}: is complete\n"
        f"-> to run it again: python bundle.py rerun {shlex.quote(str(again))}\n"
    )


@pytest.mark.long
def test_warned_and_resumed_in_its_own_directory(bench: Bench) -> None:
    config = bench.config(epoch=12)
    told = json.loads(bench.bundle("submit", "--json", config).stdout)
    run = Path(told["run"])
    trail = run / "results" / "trail" / "rank-00001.jsonl"
    wait_until(
        lambda: trail.exists() and trail.read_bytes().count(b"\n") >= 3,
        (run / "logs" / "stderr.log").read_text,
    )
    busy = bench.bundle("resume", run, code=2)
    assert busy.stderr == (
        f"bundle: {run}: its job still runs\n"
        f"-> to end it first: python bundle.py cancel {shlex.quote(str(run))}\n"
    )
    os.kill(int(told["job"].partition(".")[0]), signal.SIGUSR2)
    wait_until(lambda: state(bench, run) != "running")
    stop = json.loads((run / "stopped.json").read_text())
    assert (stop["reason"], stop["steps"]) == ("signal", 36)
    done = bench.bundle("resume", "--wait", run)
    assert f"bundle: goes on after step {stop['step']} of 36, from " in done.stderr
    assert f"resumed after step {stop['step']} of 36\n" in done.stdout
    job = json.loads((run / "job.json").read_text())
    assert job["earlier"] == [told["job"]]
    assert bench.bundle("verify", run).stdout == "verified: nothing differs\n"
    again = bench.bundle("rerun", run)
    assert "verdict: identical\n" in again.stdout


@pytest.mark.long
def test_a_rerun_that_was_stopped_gets_its_verdict_from_resume(bench: Bench) -> None:
    run = bench.submit(bench.config(epoch=12))
    command = [sys.executable, str(bench.project / "bundle.py"), "rerun", str(run)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        again: List[Path] = []

        def it_trains() -> bool:
            assert process.poll() is None
            again[:] = [path for path in bench.out.iterdir() if path.name[0] != "." and path != run]
            return bool(again and (again[0] / "results" / "trail" / "rank-00001.jsonl").exists())

        wait_until(it_trains)
        job = json.loads((again[0] / "job.json").read_text())
        os.kill(int(job["id"].partition(".")[0]), signal.SIGUSR2)
        output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 3
    assert "verdict: inconclusive\n" in output
    done = bench.bundle("resume", "--wait", again[0])
    assert "verdict: identical\n" in done.stdout
    assert json.loads((again[0] / "verdict.json").read_text())["verdict"] == "identical"


def test_a_warning_before_the_ranks_are_up_is_kept_for_them(bench: Bench) -> None:
    told = json.loads(bench.bundle("submit", "--json", bench.config(epoch=40)).stdout)
    run = Path(told["run"])
    wait_until((run / "logs" / "stdout.log").exists)  # made after the signal is trapped
    os.kill(int(told["job"].partition(".")[0]), signal.SIGUSR2)
    wait_until(lambda: state(bench, run) != "running")
    assert (run / "exit_code").read_text() == "75\n"
    stop = json.loads((run / "stopped.json").read_text())
    assert (stop["reason"], stop["steps"]) == ("signal", 120)
    assert complaints(run) == ""


def test_a_run_that_was_changed_or_moved_is_not_resumed(bench: Bench) -> None:
    run = stopped_by_walltime(bench)
    loop = run / "code" / "trainer" / "loop.py"
    text = loop.read_bytes()
    loop.chmod(0o644)
    loop.write_bytes(text + b"#\n")
    script = run / "job.sh"
    script.write_text(script.read_text() + "#\n")
    done = bench.bundle("resume", run, code=2)
    lines = done.stderr.splitlines()
    assert lines[0].startswith("bundle: code/trainer/loop.py: was altered: ")
    assert lines[1].startswith("bundle: job.sh: was altered: ") or lines[1].startswith("job.sh")
    assert lines[-1] == "-> restore what was altered or moved, then resume again"
    moved = run.rename(run.with_name("moved"))
    done = bench.bundle("resume", moved, code=2)
    assert done.stderr == (
        f"bundle: {moved}: was moved or renamed, its job script works in {run}\n"
        f"-> move it back, or go on in a new run: resume: {moved}\n"
    )
    assert not (moved / "exit_code.partial").exists()
    assert (moved / "exit_code").read_text() == "75\n"


def test_what_the_key_resume_refuses(bench: Bench) -> None:
    run = stopped_by_walltime(bench)
    checkpoint = run / "results" / "checkpoints" / "step-000000001.npz"
    there = runs_in(bench)

    def refused(**keys: object) -> str:
        done = bench.bundle("submit", bench.config("wrong", **keys), code=2)
        assert runs_in(bench) == there
        return "\n".join(x for x in done.stderr.split("\n") if "check the images" not in x)

    where = f"resume: {checkpoint}: was made by another run:"
    ways = (
        "-> use the old run's values (epoch may grow) and its code, go on with the old run as it "
        f"is (python bundle.py resume {shlex.quote(str(run))}), or begin anew from a model file "
        "with initmodel\n"
    )
    assert refused(resume=str(run), arch="alex", insize="") == (
        f"bundle: {where} training.arch is nin there, alex here\n"
        f"{where} training.insize is 67 there, 227 here\n{ways}"
    )
    assert refused(resume=str(run / "manifest.json"), seed=1) == (
        f"bundle: {where} training.seed is 0 there, 1 here\n{ways}"
    )
    assert refused(resume=str(checkpoint), ranks_per_node=3) == (
        f"bundle: {where} world.ranks is 2 there, 3 here\n{ways}"
    )
    missing = bench.root / "nowhere"
    assert refused(resume=str(missing)) == (
        f"bundle: resume: {missing}: does not exist\n"
        "-> give a run directory or a checkpoint in one\n"
    )
    alone = bench.root / "step-000000001.npz"
    shutil.copy(checkpoint, alone)
    assert refused(resume=str(alone)) == (
        f"bundle: resume: {alone}: is neither a run directory nor a checkpoint inside one\n"
        "-> give RUN or RUN/results/checkpoints/step-….npz; its trail and log are needed too\n"
    )
    checkpoint.write_bytes(checkpoint.read_bytes()[:-9])
    assert refused(resume=str(run)) == (
        f"bundle: resume: {checkpoint}: is cut off or no checkpoint\n"
        "-> give a run directory or a whole checkpoint in one, or leave it out\n"
    )
    done = bench.bundle("resume", run, code=2)
    assert done.stderr == (
        f"bundle: {checkpoint}: is cut off or no checkpoint\n"
        f"-> restore one from a copy, or remove {checkpoint.parent} to begin with the first step\n"
    )
    problems = bench.bundle("verify", run, code=1).stdout
    assert f"results/checkpoints/{checkpoint.name}: is cut off or no checkpoint\n" in problems
    checkpoint.unlink()
    assert refused(resume=str(run)) == (
        f"bundle: resume: {run}: has no checkpoint\n"
        "-> give a run directory or a whole checkpoint in one, or leave it out\n"
    )
