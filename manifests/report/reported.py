"""What a page says of runs, read from their directories: each run, and what a comparison finds"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional, Sequence

from container.progress import Progress
from container.trouble import Trouble
from container.utf8_text import utf8_text
from manifests.record.run_files import RunFiles
from manifests.record.schema import Manifest
from manifests.report.curves import Curves, read_curves
from manifests.rundir.job import Job, read_job
from manifests.rundir.labels import Labels, read_labels
from manifests.rundir.records import Warn, ignore, read_record
from manifests.rundir.verify import file_problems
from manifests.verdict.comparison import Comparison
from manifests.verdict.run_pair import ReadRun, compare_read_runs, read_for_comparison
from manifests.verdict.run_record import RunRecord
from manifests.verdict.slices import gathered

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

#: Runs have letters on a page: A to Z, then AA, AB and so on.
LETTERS = [*_ALPHABET, *(f"{one}{other}" for one in _ALPHABET[:8] for other in _ALPHABET)]


#: Bytes from which on it takes so long to compare a trail that progress is shown.
LARGE_TRAIL = 20_000_000


@dataclass(frozen=True)
class ReportedRun:
    """``curves`` is None where the log has no row, or cannot be read: ``faults`` says so then."""

    letter: str
    read: ReadRun
    labels: Labels
    job: Optional[Job]
    curves: Optional[Curves]
    faults: List[str]

    @property
    def files(self) -> RunFiles:
        return self.read.files

    @property
    def record(self) -> RunRecord:
        return self.read.record

    @property
    def manifest(self) -> Manifest:
        return self.record.manifest

    @property
    def name(self) -> str:
        return utf8_text(self.files.root.name)


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
    read = read_for_comparison(files, warn)
    # A page on an altered run must not look like one on the run, also where it stands alone.
    here = f"{files.root}/"
    faults = [text.replace(here, "") for text in (*read.record.altered, *read.record.faults)]
    result = read.record.result
    if result is not None and result.log is not None:
        faults += file_problems(files.log, "results/log.jsonl", result.log)
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
    return ReportedRun(letter, read, labels, job, curves, faults)


def read_pair(
    first: ReportedRun, other: ReportedRun, progress: Progress, warn: Warn = ignore
) -> ReportedPair:
    """Compare two runs, step by step where both left a whole trail."""
    recorded = recorded_verdict(first, other, warn)
    if recorded is not None and recorded.verdict == "cannot-run" and other.record.result is None:
        return ReportedPair(other, recorded, None, recorded)
    if _trail_size(other) < LARGE_TRAIL:
        found = compare_read_runs(first.read, other.read)
    else:
        ranks = min(run.manifest.identity.world.ranks for run in (first, other))
        with progress.track(f"compare the steps of {other.name}", ranks, "ranks") as advance:
            found = compare_read_runs(first.read, other.read, advance)
    return ReportedPair(other, found.comparison, found.states, recorded)


def _trail_size(run: ReportedRun) -> int:
    paths = [run.files.trail_of(rank) for rank in range(run.manifest.identity.world.ranks)]
    return sum(path.stat().st_size for path in paths if path.is_file())


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
