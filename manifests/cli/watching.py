"""``status --watch``: the same rows again and again, for as long as a run of them goes on."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List

from manifests.cli.overview import status_rows
from manifests.host.context import HostContext
from manifests.rundir.records import Warn, ignore

#: Between two questions to a scheduler.
SECONDS = 5.0

Rows = List[Dict[str, Any]]


def watched(
    runs: List[Path],
    host: HostContext,
    warn: Warn = ignore,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Rows]:
    """Yield the rows of ``runs`` (or of all that are under way now) until none of them goes on.

    A run of which nothing is known goes on if it did before: its scheduler may come back.
    """
    went_on: set[str] = set()
    while True:
        rows = status_rows(runs, host, warn)
        runs = runs or [Path(row["run"]) for row in rows]
        yield rows
        went_on = {row["run"] for row in rows if goes_on(row, went_on)}
        if not went_on:
            return
        sleep(SECONDS)


def goes_on(row: Dict[str, Any], went_on: set[str]) -> bool:
    return row["state"] in ("queued", "running") or (
        row["state"] == "unknown" and row["run"] in went_on
    )
