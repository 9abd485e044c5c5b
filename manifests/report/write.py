"""`report`: the runs that a person names -> one HTML file"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Iterator, List, Optional, Sequence

from container import atomic
from container.trouble import Trouble
from container.utf8_text import utf8_text
from manifests.flows.unfinished import why_unfinished
from manifests.host.context import HostContext
from manifests.record.run_files import RunFiles
from manifests.record.slice_set import SetFiles, SliceSet
from manifests.report.page import page_text
from manifests.report.reported import (
    LETTERS,
    read_pair,
    read_run,
    read_verdict,
    same_place,
)
from manifests.report.statements import statement_rows
from manifests.report.view import view_of
from manifests.rundir.counted_folder import refuse_counted
from manifests.rundir.directory import find_run, list_runs
from manifests.rundir.records import Warn, ignore, read_manifest, read_record

SUFFIXES = (".html", ".htm")


def write_report(
    runs: Sequence[Path], target: Optional[Path], host: HostContext, warn: Warn = ignore
) -> Path:
    """Write the page on ``runs``, the first of which is the one that the others are held against,
    into ``target`` (``report.html`` of the one run if None); return where it lies.

    One run that is a rerun comes with its original, where that is still there. Raises Trouble,
    before anything is written, for all that is wrong with the names and with the target, and for a
    first run that has no result.
    """
    named = _found(runs, target)
    files = _with_original(named, warn)
    place = target or named[0].report
    _refuse_target(place)
    _refuse_unfinished(files[0], host, warn)
    with _prepared(place):
        text = _page(files, host, warn)
        try:
            atomic.write_bytes(place, text.encode("utf-8", "replace"))
        except OSError as error:
            raise _unwritable(place, error) from error
    return place


def report_at_the_end(files: RunFiles, host: HostContext, warn: Warn) -> Optional[Path]:
    """The page on a run that has just ended, in its directory; None where there is none.

    Whatever goes wrong with it is a warning: the run ended as it ended.
    """
    try:
        of = _original_of(files, ignore)
        if files.result.exists() or (of is not None and RunFiles(of).result.exists()):
            return write_report([files.root], None, host)
    except Exception as error:
        warn(f"{files.report} was not written: {error}")
    return None


def report_on_slices(files: SetFiles, host: HostContext, warn: Warn) -> Optional[Path]:
    """The page on a run and the slices in a folder, in that folder; a fault is a warning too."""
    try:
        record = read_record(files.plan, SliceSet, warn)
        slices = [one.files.root for one in list_runs(files.root)]
        return write_report([Path(record.run), *slices], files.report, host)
    except Exception as error:
        warn(f"{files.report} was not written: {error}")
    return None


def _found(runs: Sequence[Path], target: Optional[Path]) -> List[RunFiles]:
    if target is None and len(runs) > 1:
        raise Trouble(f"a page on {len(runs)} runs lies in none of them", "say where with -o FILE")
    if len(runs) > len(LETTERS):
        raise Trouble(
            f"{len(runs)} runs were named, a page has room for {len(LETTERS)}", "name fewer"
        )
    found, problems, steps = [], [], []
    for run in runs:
        try:
            found.append(find_run(run))
        except Trouble as trouble:
            problems += trouble.problems
            steps.append(trouble.next_step)
    if problems:
        raise Trouble(problems, "\n-> ".join(dict.fromkeys(steps)))
    twice = same_place(found)
    if twice:
        raise Trouble([f"{root}: is named twice" for root in twice], "name each run once")
    return found


def _with_original(named: List[RunFiles], warn: Warn) -> List[RunFiles]:
    original = _original_of(named[0], warn) if len(named) == 1 else None
    if original is None or not RunFiles(original).manifest.is_file():
        return named
    found = [RunFiles(original), *named]
    return named if same_place(found) else found


def _original_of(files: RunFiles, warn: Warn) -> Optional[Path]:
    of = read_manifest(files, warn).circumstance.rerun_of
    return Path(of) if of else None


def _refuse_target(target: Path) -> None:
    if target.suffix.lower() not in SUFFIXES:
        found = f"has the suffix {target.suffix}" if target.suffix else "has no suffix"
        raise Trouble(f"{target}: {found}", f"end the name with {SUFFIXES[0]}")
    refuse_counted(target, "name another file with -o")


@contextmanager
def _prepared(target: Path) -> Iterator[None]:
    """The folder of ``target`` is made; it stays only if the page is written."""
    with ExitStack() as stack:
        try:
            stack.enter_context(atomic.prepared(target))
        except Trouble as trouble:
            raise Trouble(trouble.problems, "name another file with -o") from trouble
        yield


def _unwritable(target: Path, error: OSError) -> Trouble:
    return Trouble(f"{target}: cannot be written: {error.strerror}", "name another file with -o")


def _refuse_unfinished(files: RunFiles, host: HostContext, warn: Warn) -> None:
    if files.result.exists():
        return
    what, step = why_unfinished(files, host, warn)
    raise Trouble(f"{files.root}: {what}: it has no result to report", step)


def _page(files: List[RunFiles], host: HostContext, warn: Warn) -> str:
    runs = [read_run(letter, one, warn) for letter, one in zip(LETTERS, files)]
    pairs = [read_pair(runs[0], other, host.progress, warn) for other in runs[1:]]
    statements = statement_rows(files[0], host.environ)
    if pairs:
        return page_text(view_of(runs, pairs, statements))
    of = runs[0].manifest.circumstance.rerun_of
    recorded = read_verdict(runs[0], warn) if of else None
    original = utf8_text(Path(of).name) if of else None
    return page_text(view_of(runs, pairs, statements, original=original, recorded=recorded))
