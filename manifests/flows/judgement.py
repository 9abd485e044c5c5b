"""The verdict on a rerun that has ended, kept in its ``verdict.json``"""

from __future__ import annotations

from pathlib import Path
from typing import Optional

from container import atomic
from manifests.flows.cannot_run import CannotRun
from manifests.record.run_files import RunFiles
from manifests.rundir.directory import find_run
from manifests.rundir.records import Warn, ignore, read_failure, read_manifest
from manifests.verdict import comparison
from manifests.verdict.comparison import Comparison
from manifests.verdict.run_pair import compare_read_runs, read_for_comparison
from manifests.verdict.span import not_run
from manifests.verdict.swapped_parts import judged


def compare_runs(first: Path, second: Path, warn: Warn = ignore) -> Comparison:
    a, b = (read_for_comparison(find_run(str(run)), warn) for run in (first, second))
    return compare_read_runs(a, b).comparison


def judge(old: Path, again: RunFiles, warn: Warn = ignore) -> Comparison:
    """Compare the ended rerun with its original and keep the verdict in ``verdict.json``."""
    comparison = refused(old, again, warn) or compare_runs(old, again.root, warn)
    atomic.write_json(again.verdict, comparison.model_dump(mode="json"))
    return comparison


def refused(old: Path, again: RunFiles, warn: Warn = ignore) -> Optional[Comparison]:
    """The verdict where the trainer found that its machine cannot give the promised bits."""
    failure = None if again.done.exists() else read_failure(again, warn)
    if failure is None or not failure.cannot_promise:
        return None
    verdict = comparison.cannot_run(str(old), [failure.message], failure.next_step)
    manifest = read_manifest(again, warn)
    part = manifest.circumstance.slice
    steps = None if part is None else not_run(part, manifest.identity.steps)
    verdict = verdict.model_copy(update={"b": str(again.root), "steps": steps})
    return judged(verdict, read_manifest(find_run(str(old))), manifest)


def not_rerun(old: Path, error: CannotRun) -> Comparison:
    return comparison.cannot_run(str(old), error.problems, error.next_step)
