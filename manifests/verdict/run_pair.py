"""Two run directories -> the verdict and the state of each step; trails stay on the disk"""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Optional

from container.progress import Advance
from container.trouble import Trouble
from manifests.record.run_files import RunFiles
from manifests.rundir.records import Warn, ignore
from manifests.verdict.compare import compare
from manifests.verdict.comparison import Comparison
from manifests.verdict.run_record import RunRecord, load_record, with_entries
from manifests.verdict.span import common_span
from manifests.verdict.step_states import WHOLE, StepStates, compare_steps


@dataclass(frozen=True)
class ReadRun:
    """A run directory and what was read of it, its trail aside (load_record, ``with_trail``)."""

    files: RunFiles
    record: RunRecord


@dataclass(frozen=True)
class ComparedRuns:
    """``states``: see StepStates; None where a trail is missing or damaged."""

    comparison: Comparison
    states: Optional[bytes]


def read_for_comparison(files: RunFiles, warn: Warn = ignore) -> ReadRun:
    """Raises Trouble as :func:`load_record`."""
    return ReadRun(files, load_record(files, warn, with_trail=False))


def compare_read_runs(
    first: ReadRun, second: ReadRun, advance: Advance = lambda _count: None
) -> ComparedRuns:
    """As :func:`compare` of whole records. ``advance`` is called with 1 for each rank."""
    sides = [first, second]
    span = common_span(first.record, second.record)
    try:
        found = _steps(sides, WHOLE if span is None else span.window, advance)
    except Trouble:  # a damaged trail: records are read one by one to say all that is wrong
        sides = [ReadRun(side.files, load_record(side.files)) for side in sides]
        found = None
    records = [side.record for side in sides]
    if span is not None:  # what differs in the state that it ends on can be named
        records = [with_entries(side.record, side.files, span.end) for side in sides]
    comparison = compare(records[0], records[1], found.finding if found else None)
    return ComparedRuns(comparison, found.states if found else None)


def _steps(sides: List[ReadRun], window: tuple[int, int], advance: Advance) -> Optional[StepStates]:
    if not all(side.record.trail for side in sides):
        return None
    paths = [
        [side.files.trail_of(rank) for rank in range(side.record.manifest.identity.world.ranks)]
        for side in sides
    ]
    return compare_steps(paths[0], paths[1], advance, window=window)
