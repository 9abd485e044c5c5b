"""On what runs were computed, and how long their jobs took"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Dict, List, Optional, Tuple

from manifests.record.log_columns import ELAPSED
from manifests.report.amounts import numbers_text, time_text
from manifests.report.curves import Curves
from manifests.report.reported import ReportedRun


@dataclass(frozen=True)
class Row:
    """A property, and its value for each run of the page."""

    title: str
    cells: List[str]

    @property
    def differs(self) -> bool:
        return len(set(self.cells)) > 1


def machine_rows(runs: List[ReportedRun]) -> List[Row]:
    columns = [_machine_of(run) for run in runs]
    titles = list(dict.fromkeys(title for column in columns for title in column))
    return [Row(title, [column.get(title, "-") for column in columns]) for title in titles]


def _machine_of(run: ReportedRun) -> Dict[str, str]:
    result = run.record.result
    if result is None:
        return {}
    seen, world = result.observed, run.manifest.identity.world
    hosts: Dict[str, List[int]] = {}
    for place in seen.ranks:
        hosts.setdefault(place.host, []).append(place.rank)
    found = {
        "nodes": "; ".join(
            f"{host}: rank{'s' * (len(ranks) > 1)} {numbers_text(ranks)}"
            for host, ranks in hosts.items()
        ),
        "processor": seen.cpu_model,
        "processes": str(seen.processes or world.ranks),
    }
    if seen.gpus is not None:
        kinds = [rank.kind.text for rank in seen.gpus.ranks]
        found["GPUs"] = ", ".join(f"{kinds.count(kind)} x {kind}" for kind in dict.fromkeys(kinds))
        found["GPU driver"] = seen.gpus.driver
    return {**found, **seen.versions}


@dataclass(frozen=True)
class JobTime:
    """``seconds`` is None where the log does not tell."""

    job: str
    first: int
    last: int
    seconds: Optional[float]

    @property
    def text(self) -> str:
        return "-" if self.seconds is None else time_text(self.seconds)


def job_times(run: ReportedRun) -> List[JobTime]:
    """The steps that each job of a run computed and kept, and its seconds of training.

    A job that took over begins with the step after a checkpoint; seconds at that step are read off
    the line between two rows of the log.
    """
    result, part = run.record.result, run.manifest.circumstance.slice
    if result is None:
        return []
    resumed = run.manifest.circumstance.resumed
    first = part.begin if part else resumed.step if resumed else 0
    ends = [*takeovers(run), result.steps]
    begins = [first, *ends[:-1]]
    ids = [*run.job.earlier, *run.job.ids] if run.job else []
    names = ids if len(ids) == len(ends) else [f"job {place}" for place in range(1, len(ends) + 1)]
    if part is not None:  # its log goes on from that of the run: it says nothing of this job alone
        seconds: List[Optional[float]] = [None] * len(ends)
        seconds[-1] = result.observed.seconds
    else:
        times = [_seconds_until(run.curves, step) for step in (first, *ends)]
        seconds = [
            None if before is None or after is None else after - before
            for before, after in zip(times, times[1:])
        ]
    return [JobTime(*row) for row in zip(names, (step + 1 for step in begins), ends, seconds)]


def takeovers(run: ReportedRun) -> List[int]:
    """The steps after which another job took over, those of the run that it began with aside."""
    result, part = run.record.result, run.manifest.circumstance.slice
    resumed = run.manifest.circumstance.resumed
    if result is None:
        return []
    first = part.begin if part else resumed.step if resumed else 0
    return sorted({step for step in result.observed.resumed_at if first < step < result.steps})


def _seconds_until(curves: Optional[Curves], step: int) -> Optional[float]:
    points: List[Tuple[int, float]] = [(0, 0.0)]
    if curves is not None:
        rows = zip(curves.steps, curves.values.get(ELAPSED, []))
        points += [(steps, seconds) for steps, seconds in rows if math.isfinite(seconds)]
    for (low, before), (high, after) in zip(points, points[1:]):
        if low <= step <= high and high > low:
            return before + (after - before) * (step - low) / (high - low)
    return 0.0 if step == 0 else None
