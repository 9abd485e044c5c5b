"""Damage: a record that was changed after the run had finished with it, and cannot be read any more

A manifest has a line per file of the code: `list`, which shows thousands of runs, cannot read all.
Each of these records is followed by a smaller one that never changes. One that is younger than what
follows it was written again, or copied without its times, and is read; others are as they were.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import AbstractSet, List, Optional

from container.trouble import Trouble
from manifests.record.run_files import RunFiles
from manifests.rundir.records import read_manifest, read_result


def record_damage(files: RunFiles, present: AbstractSet[str], *, done: bool) -> List[str]:
    """What is wrong with the manifest and, of a run that is ``done``, with its result.

    ``present`` are the names in the directory. Runs of earlier versions have no outline; whoever
    shows them reads the manifest.
    """
    problems: List[str] = []
    for record, mark, read in (
        (files.manifest, files.outline, read_manifest),
        (files.result, files.done, read_result),
    ):
        wanted = {record.name, mark.name} <= present and (done or record is not files.result)
        if wanted and _is_younger(record, mark):
            try:
                read(files)
            except Trouble as trouble:
                problems += trouble.problems
    return problems if os.path.lexists(files.manifest) else []  # the run was removed meanwhile


def _is_younger(record: Path, mark: Path) -> bool:
    """True too where nothing can be said: then the record is read."""
    written, followed = _written(record), _written(mark)
    return written is None or followed is None or written > followed


def _written(path: Path) -> Optional[int]:
    try:
        return os.stat(path).st_mtime_ns  # noqa: PTH116  (asked of thousands of runs)
    except OSError:
        return None
