"""``status --watch``: the same rows again and again, for as long as a run of them goes on."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Set

from manifests.cli.overview import status_rows
from manifests.host.context import HostContext
from manifests.record.run_files import RunFiles
from manifests.rundir.records import Warn, ignore

#: Between two questions to a scheduler.
SECONDS = 5.0

Rows = List[Dict[str, Any]]


class Watch:
    """What is watched: ``runs``, or all that are under way, with those that ended meanwhile.

    ``goes_on``: whether a run of the last rows does. One of which nothing is known does if it did
    before: its scheduler may come back. ``notes`` are the warnings of the last look.
    """

    def __init__(self, runs: List[Path], host: HostContext, warn: Warn = ignore) -> None:
        self.notes: List[str] = []
        self._runs = list(runs)
        self._all = not runs
        self._host = host
        self._tell = warn
        self._seen: Set[str] = set()
        self._went_on: Set[str] = set()
        self._first = True

    @property
    def goes_on(self) -> bool:
        return bool(self._went_on)

    def rows(self) -> Rows:
        """As they are now; one question to each scheduler. Raises Trouble, the first time only, for
        one that is no run: later it was removed, which is a warning."""
        self.notes = []
        if not self._first:
            self._forget_removed()
        rows: Rows = []
        if self._all or self._runs:
            rows = status_rows(self._runs, self._host, self._warn, self._seen)
        self._first = False
        self._seen = {row["run"] for row in rows}
        self._went_on = {row["run"] for row in rows if self._does_go_on(row)}
        return rows

    def _does_go_on(self, row: Dict[str, Any]) -> bool:
        return row["state"] in ("queued", "running") or (
            row["state"] == "unknown" and row["run"] in self._went_on
        )

    def _warn(self, text: str) -> None:
        self.notes.append(text)
        self._tell(text)

    def _forget_removed(self) -> None:
        known = {str(run): run for run in self._runs} or {run: Path(run) for run in self._seen}
        for text, run in known.items():
            folder = run if run.is_dir() else run.parent  # a file in it may have been named
            if not RunFiles(folder).manifest.is_file():
                self._warn(f"{text}: is not there any more")
                self._runs = [one for one in self._runs if one != run]
                self._seen.discard(text)


def watched(
    runs: List[Path],
    host: HostContext,
    warn: Warn = ignore,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Rows]:
    """Yield the rows of ``runs``, or of all that are under way, until none of them goes on."""
    watch = Watch(runs, host, warn)
    while True:
        yield watch.rows()
        if not watch.goes_on:
            return
        sleep(SECONDS)
