"""The command that runs a run directory again: of some steps only, where it has no others"""

from __future__ import annotations

from typing import List, Mapping, Optional, Tuple

from container.shell_word import shell_words
from manifests.record.run_files import RunFiles
from manifests.record.schema import Manifest
from manifests.rundir.export_head import held_steps


def steps_there(files: RunFiles, manifest: Manifest) -> Optional[Tuple[int, int]]:
    """(S, T) of a slice, or of an export of some steps: it has the steps after S up to T. None for
    a whole run."""
    held, part = held_steps(files), manifest.circumstance.slice
    if held is not None or part is None:
        return held
    return part.begin, part.end


def step_options(steps: Optional[Tuple[int, int]]) -> List[str]:
    """The options of `rerun` for the steps after S up to T; None: all."""
    if steps is None:
        return []
    return ["--from-step", str(steps[0]), "--to-step", str(steps[1])]


def rerun_command(
    files: RunFiles, manifest: Manifest, moved: Optional[Mapping[str, str]] = None
) -> str:
    """``moved``: folders of data that are elsewhere now, OLD: NEW."""
    options = step_options(steps_there(files, manifest))
    for old, new in (moved or {}).items():
        options += ["--data", f"{old}={new}"]
    return shell_words(["python", "bundle.py", "rerun", str(files.root), *options])
