"""What every call pays for: the imports of `--help`, `list`, `status`"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import List, Set, Tuple

import pytest

from manifests.record.version import SCHEMA_VERSION

PROJECT = Path(__file__).resolve().parents[3]
SLOW = {"pydantic", "yaml", "jinja2", "numpy", "PIL", "rich", "matplotlib", "subprocess", "sqlite3"}

LISTED = """\
import runpy, sys
sys.argv = ["bundle.py", *sys.argv[1:]]
try:
    runpy.run_path("bundle.py", run_name="__main__")
except SystemExit:
    pass
print("\\n" + " ".join(sorted({name.split(".")[0] for name in sys.modules})))
"""


def imported(words: List[str], cache: Path) -> Tuple[Set[str], str]:
    """Top-level modules, and what was printed."""
    done = subprocess.run(
        [sys.executable, "-E", "-s", "-X", "utf8", "-c", LISTED, *words],
        cwd=PROJECT,
        env={**os.environ, "BUNDLE_CACHE": str(cache)},
        capture_output=True,
        text=True,
        check=True,
    )
    *shown, names = done.stdout.splitlines()
    return set(names.split()), "\n".join(shown) + done.stderr


@pytest.mark.parametrize("words", [["--help"], ["list"], ["status"], ["list", "--help"]])
def test_what_is_called_often_imports_nothing_slow(words: List[str], tmp_path: Path) -> None:
    modules, shown = imported(words, tmp_path)
    assert modules & SLOW == set(), shown


def test_runs_that_are_done_are_listed_without_models(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "digits-20260131T235958Z-0123abcd"
    (run / "results").mkdir(parents=True)
    outline = {"run_kind": "run", "arch": "nin", "steps": 4, "epochs": 1, "batch": 8, "ranks": 1}
    job = {"kind": "job", "backend": "slurm", "id": "7", "host": "h", "submitted": "x"}
    labels = {"kind": "labels", "message": "why", "tags": ["one"], "notes": []}
    (run / "manifest.json").write_text("{}")
    for name, values in (("outline", outline), ("job", job), ("labels", labels)):
        (run / f"{name}.json").write_text(json.dumps({"version": SCHEMA_VERSION, **values}))
    for name, text in (("result.json", "{}"), ("exit_code", "0")):
        (run / name).write_text(text)
    (run / "DONE").touch()
    row = {"epoch": 1, "elapsed_time": 61.5, "validation/main/accuracy": 0.25}
    (run / "results" / "log.jsonl").write_text(json.dumps(row) + "\n")
    modules, shown = imported(["list", str(run.parent)], tmp_path / "cache")
    assert modules & SLOW == set()
    assert "done" in shown and "1m02s" in shown and "#one" in shown and "why" in shown
    # What this version did not write goes the long way, and is told of.
    (run / "job.json").write_text("{}")
    modules, shown = imported(["list", str(run.parent)], tmp_path / "cache")
    assert "pydantic" in modules
    assert "damaged" in shown and f"{run}/job.json: " in shown
