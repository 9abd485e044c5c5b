"""What a page says of runs, read from their directories: each run, and what a comparison finds"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import List, Optional, Sequence

from container.progress import Progress
from container.trouble import Trouble
from manifests.record.run_files import RunFiles
from manifests.record.schema import Manifest
from manifests.report.curves import Curves, read_curves
from manifests.rundir.job import Job, read_job
from manifests.rundir.labels import Labels, read_labels
from manifests.rundir.records import Warn, ignore, read_record
from manifests.verdict.compare import RunRecord, compare, load_record
from manifests.verdict.comparison import Comparison
from manifests.verdict.slices import gathered
from manifests.verdict.span import common_span
from manifests.verdict.step_states import WHOLE, StepStates, Window, compare_steps

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

#: Runs have letters on a page: A to Z, then AA, AB and so on.
LETTERS = [*_ALPHABET, *(f"{one}{other}" for one in _ALPHABET[:8] for other in _ALPHABET)]


@dataclass(frozen=True)
class ReportedRun:
    """``curves`` is None where the log has no row, or cannot be read: ``faults`` says so then."""

    letter: str
    files: RunFiles
    record: RunRecord
    labels: Labels
    job: Optional[Job]
    curves: Optional[Curves]
    faults: List[str]

    @property
    def manifest(self) -> Manifest:
        return self.record.manifest

    @property
    def name(self) -> str:
        return self.files.root.name.encode("utf-8", "replace").decode("utf-8")


@dataclass(frozen=True)
class ReportedPair:
    """The first run and another; ``states`` is None where steps could not be compared.

    ``recorded`` is the ``verdict.json`` of the other run, if that is a verdict on these two.
    """

    other: ReportedRun
    comparison: Comparison
    states: Optional[bytes]
    recorded: Optional[Comparison]


def read_run(letter: str, files: RunFiles, warn: Warn = ignore) -> ReportedRun:
    """Raises Trouble for an unreadable manifest or result; other damage is a fault of the run."""
    faults: List[str] = []
    record = load_record(files, warn, with_trail=False)
    labels, job, curves = Labels(), None, None
    try:
        labels = read_labels(files, warn)
    except Trouble as trouble:
        faults += trouble.problems
    try:
        job = read_job(files, warn)
    except Trouble as trouble:
        faults += trouble.problems
    if files.log.exists() and files.log.stat().st_size:
        try:
            curves = read_curves(files, warn)
        except Trouble as trouble:
            faults += trouble.problems
    return ReportedRun(letter, files, record, labels, job, curves, faults)


def read_pair(
    first: ReportedRun, other: ReportedRun, progress: Progress, warn: Warn = ignore
) -> ReportedPair:
    """Compare two runs, step by step where both left a whole trail."""
    a, b = first.record, other.record
    recorded = recorded_verdict(first, other, warn)
    if recorded is not None and recorded.verdict == "cannot-run" and b.result is None:
        return ReportedPair(other, recorded, None, recorded)
    found: Optional[StepStates] = None
    if a.trail and b.trail:
        paths = [trail_of(run) for run in (first, other)]
        ranks = min(len(side) for side in paths)
        try:
            with progress.track(f"compare the steps of {other.name}", ranks, "ranks") as advance:
                found = compare_steps(paths[0], paths[1], advance, window=window_of(a, b))
        except Trouble as trouble:
            return ReportedPair(other, _without_trails(a, b, trouble), None, recorded)
    comparison = compare(a, b, found.finding if found else None)
    return ReportedPair(other, comparison, found.states if found else None, recorded)


def joined(first: ReportedRun, pairs: Sequence[ReportedPair]) -> Optional[Comparison]:
    """The verdict on the first run from all its slices together; None where others are no slices,
    or there is one alone."""
    if len(pairs) < 2 or not all(pair.comparison.steps for pair in pairs):
        return None
    result = first.record.result
    return gathered(
        str(first.files.root),
        None,
        [pair.comparison for pair in pairs],
        steps=first.manifest.identity.steps,
        root=result.root if result else None,
    )


def window_of(a: RunRecord, b: RunRecord) -> Window:
    """The steps that both runs have, where one of them is a slice."""
    span = common_span(a, b)
    return WHOLE if span is None else span.window


def _without_trails(a: RunRecord, b: RunRecord, trouble: Trouble) -> Comparison:
    damaged = replace(b, trail=None, faults=[*b.faults, *trouble.problems])
    return compare(replace(a, trail=None), damaged)


def trail_of(run: ReportedRun) -> List[Path]:
    return [run.files.trail_of(rank) for rank in range(run.manifest.identity.world.ranks)]


def recorded_verdict(
    first: ReportedRun, other: ReportedRun, warn: Warn = ignore
) -> Optional[Comparison]:
    """The other run's ``verdict.json``, where it is on a rerun of the first."""
    return read_verdict(other, warn) if repeats(other, first.files.root) else None


def read_verdict(run: ReportedRun, warn: Warn = ignore) -> Optional[Comparison]:
    """None where there is none that can be read: the page then says what it finds itself."""
    with suppress(Trouble):
        return read_record(run.files.verdict, Comparison, warn)
    return None


def repeats(run: ReportedRun, root: Path) -> bool:
    """Whether it was made as a rerun of the run in ``root``: names stay when folders move."""
    of = run.manifest.circumstance.rerun_of
    return of is not None and Path(of).name == root.name


def same_place(files: Sequence[RunFiles]) -> List[Path]:
    """Directories that are named more than once, by whichever way."""
    seen, twice = set(), []
    for one in files:
        place = one.root.resolve()
        if place in seen:
            twice.append(one.root)
        seen.add(place)
    return twice
