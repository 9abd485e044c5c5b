"""The page of benchmarks.gpu from what several calls of it printed with --json, one a line

python -m benchmarks.gpu_page bench.jsonl >docs/gpu-benchmarks.md
"""

from __future__ import annotations

import json
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any, Dict, List

from benchmarks.gpu_contest import Contest, Outcome
from benchmarks.gpu_table import page


def outcome_of(values: Dict[str, Any]) -> Outcome:
    contest = Contest(**{field.name: values[field.name] for field in fields(Contest)})
    return Outcome(contest, values["images_per_second"], values["problem"])


def page_of(lines: List[str]) -> str:
    """Raises SystemExit where they are of more than one machine."""
    tables: List[Dict[str, Any]] = [json.loads(line) for line in lines]
    first = tables[0]
    for name in ("host", "gpus", "driver"):
        if any(table["machine"].get(name) != first["machine"].get(name) for table in tables):
            sys.exit(f"gpu_page: the lines are of machines of more than one {name}")
    versions = {k: v for table in tables for k, v in table["machine"].get("versions", {}).items()}
    outcomes = [outcome_of(values) for table in tables for values in table["results"]]
    notes = list(dict.fromkeys(note for table in tables for note in table["notes"]))
    return page({**first["machine"], "versions": versions}, first["day"], outcomes, notes)


if __name__ == "__main__":
    print(page_of(Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()))
