"""Folders of a run in which every file is counted: a verb that writes elsewhere refuses them"""

from __future__ import annotations

import os
from pathlib import Path

from container.trouble import Trouble
from manifests.record.run_files import RunFiles

COUNTED = ("code", "inputs", "results")


def refuse_counted(target: Path, next_step: str) -> None:
    """Raise Trouble for a file or folder in such a folder of whatever run: one more file there, and
    the run differs from its manifest."""
    place = target.resolve()
    for folder in (place, *place.parents):
        if folder.name in COUNTED and _is_run(RunFiles(folder.parent)):
            raise Trouble(
                f"{target}: lies in {folder.name}/ of a run, where every file is counted", next_step
            )


def _is_run(files: RunFiles) -> bool:
    return all(os.access(path, os.F_OK) for path in (files.manifest, files.train_table))
