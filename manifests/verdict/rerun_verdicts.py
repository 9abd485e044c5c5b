"""Verdicts of the whole reruns of a run: of those beside it, and those that came with it"""

from __future__ import annotations

from pathlib import Path
from typing import Dict, List

from container.reachable import file_here
from container.trouble import Trouble
from manifests.record.run_files import RunFiles
from manifests.record.schema import Manifest
from manifests.rundir.records import Warn, ignore, read_record
from manifests.rundir.reruns import reruns_of
from manifests.verdict.comparison import Comparison


def verdict_files(files: RunFiles, manifest: Manifest) -> Dict[str, Path]:
    """``<name of the rerun>.json`` -> where its verdict lies."""
    found = {
        f"{again.root.name}.json": again.verdict
        for again in reruns_of(files, manifest)
        if file_here(again.verdict)
    }
    if files.verdicts.is_dir():
        found.update((path.name, path) for path in sorted(files.verdicts.glob("*.json")))
    return dict(sorted(found.items()))


def whole_verdicts(files: RunFiles, manifest: Manifest, warn: Warn = ignore) -> List[str]:
    """Those on all steps; a verdict that cannot be read is passed over with a warning."""
    verdicts: List[str] = []
    for path in verdict_files(files, manifest).values():
        try:
            comparison = read_record(path, Comparison, warn)
        except Trouble as trouble:
            warn(str(trouble))
            continue
        if comparison.steps is None:
            verdicts.append(comparison.verdict)
    return verdicts
