"""A run that a person cancels: its state, what it saves, its log, and what waits for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.conftest import Bench
from tests.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.image


def wait_for_row(run: Path, rows: int = 1) -> None:
    log = run / "results" / "log.jsonl"
    wait_until(lambda: log.exists() and log.read_bytes().count(b"\n") >= rows)


def state(bench: Bench, run: Path) -> str:
    return str(json.loads(bench.bundle("status", "--json", run).stdout)[0]["state"])


@pytest.mark.slow
def test_cancelled_resumed_and_cancelled_at_a_checkpoint(bench: Bench) -> None:
    run = Path(
        json.loads(bench.bundle("submit", "--json", bench.config(epoch=500, test=True)).stdout)[
            "run"
        ]
    )
    wait_for_row(run)
    assert bench.bundle("cancel", run).stderr == hint(run)
    assert state(bench, run) == "cancelled"
    before = (run / "logs" / "stdout.log").read_text()
    (run / "results" / "log.jsonl").unlink()
    bench.bundle("resume", run)
    assert state(bench, run) in ("queued", "running")
    wait_for_row(run, 2)
    done = bench.bundle("cancel", "--save", run)
    stop = json.loads((run / "stopped.json").read_text())
    assert done.stdout == f"cancelled after step {stop['step']}, which is saved\n"
    assert done.stderr.startswith("bundle: waiting for its checkpoint\n-> to go on after step ")
    assert state(bench, run) == "cancelled"
    assert (run / "logs" / "stdout.log").read_text().startswith(before)
    mark = json.loads((run / "cancelled.json").read_text())
    assert (mark["kind"], mark["saved"]) == ("cancellation", True)
    dry = bench.bundle("resume", run, "--dry-run")
    assert f"goes on after step {stop['step']} of " in dry.stderr
    assert bench.bundle("cancel", "--save", run).stdout == "had ended before\n"
    assert state(bench, run) == "cancelled"


def hint(run: Path) -> str:
    quoted = "'" + str(run).replace("'", "'\"'\"'") + "'"
    return f"-> to go on with the first step: python bundle.py resume {quoted}\n"


@pytest.mark.slow
def test_a_local_chain_is_cancelled_at_a_checkpoint_too(bench: Bench) -> None:
    done = bench.bundle("submit", "--json", "--chain", "3", bench.config(epoch=500, test=True))
    run = Path(json.loads(done.stdout)["run"])
    wait_for_row(run)
    said = bench.bundle("cancel", "--save", run).stdout
    newest = sorted((run / "results" / "checkpoints").glob("step-*.npz"))[-1]
    assert said == f"cancelled after step {int(newest.stem[5:])}, which is saved\n"
    assert state(bench, run) == "cancelled"


@pytest.mark.slow
def test_who_waits_for_a_cancelled_run_is_told_by_whom(bench: Bench) -> None:
    config = bench.config(epoch=500, test=True)
    waiting = subprocess.Popen(
        [sys.executable, str(bench.project / "bundle.py"), "submit", "--wait", str(config)],
        cwd=bench.root,
        env={**os.environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: list(bench.out.glob("config-*/job.json")))
    run = next(bench.out.glob("config-*"))
    wait_for_row(run)
    bench.bundle("cancel", run)
    _, err = waiting.communicate(timeout=PATIENCE)
    mark = json.loads((run / "cancelled.json").read_text())
    quoted = hint(run).partition(" resume ")[2]
    assert waiting.returncode == 2
    assert err.endswith(
        f"bundle: {run}: was cancelled by {mark['by']} on {mark['host']} at {mark['at']}\n"
        f"-> to go on: python bundle.py resume {quoted}"
    )
