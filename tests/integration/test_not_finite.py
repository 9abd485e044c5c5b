"""A run whose last step makes the parameters useless: done, said everywhere, in valid JSON."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any, Dict

import pytest

from tests.integration.conftest import Bench

pytestmark = pytest.mark.image

SAID = "not finite: validation/main/loss is NaN"


def strict(text: str) -> Any:
    def refuse(word: str) -> None:
        raise ValueError(word)

    return json.loads(text, parse_constant=refuse)


def as_older_runs_have_it(run: Path) -> None:
    """Bare NaN instead of words, and no ``not_finite``; the digest of the log as it is then."""
    log, result = run / "results" / "log.jsonl", run / "result.json"
    log.write_text(log.read_text().replace('"NaN"', "NaN"))
    values: Dict[str, Any] = json.loads(result.read_text())
    del values["not_finite"]
    values["metrics"]["validation/main/loss"] = math.nan
    values["log"] = hashlib.sha256(log.read_bytes()).hexdigest()
    result.write_text(json.dumps(values))


def test_a_validation_that_is_not_finite(bench: Bench) -> None:
    config = bench.config(ranks_per_node=1, batchsize=24, lr=1e30)
    done = bench.bundle("submit", "--wait", config)
    run = Path(done.stdout.splitlines()[0].partition("run  ")[2])
    assert f"\nbundle: warning: results/log.jsonl, last row: {SAID}\n" in f"\n{done.stderr}"
    printed = (run / "logs" / "stdout.log").read_text()
    assert f"warning: after step 1: {SAID}" in printed.splitlines()
    row = strict((run / "results" / "log.jsonl").read_text())
    assert row["validation/main/loss"] == "NaN"
    result = strict((run / "result.json").read_text())
    assert result["metrics"]["validation/main/loss"] == "NaN"
    assert result["not_finite"] == ["validation/main/loss"]
    both_forms_are_read(bench, run)
    as_older_runs_have_it(run)
    both_forms_are_read(bench, run)


def both_forms_are_read(bench: Bench, run: Path) -> None:
    (row,) = strict(bench.bundle("status", "--json", run).stdout)
    assert (row["validation_loss"], row["why"], row["state"]) == ("NaN", SAID, "done")
    assert bench.bundle("status", run).stdout.splitlines()[-1].endswith(f" {SAID}")
    shown = strict(bench.bundle("show", "--json", run).stdout)
    assert shown["result"]["metrics"]["validation/main/loss"] == "NaN"
    assert f"warning    {SAID}" in bench.bundle("show", run).stdout.splitlines()
    bench.bundle("verify", run)
    bench.bundle("plot", run)
    compared = strict(bench.bundle("compare", "--json", run, run).stdout)
    assert compared["verdict"] == "identical"
