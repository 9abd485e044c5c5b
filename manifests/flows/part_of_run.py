"""Run directories that hold what some steps need and no more, as `export --steps` makes them"""

from __future__ import annotations

from typing import Mapping, Optional, Tuple

from manifests.flows.cannot_run import CannotRun
from manifests.flows.slice_plan import plan_slice, refuse_beyond_slice
from manifests.record.run_files import RunFiles
from manifests.record.schema import Manifest
from manifests.rundir.export_head import held_steps
from manifests.rundir.records import Warn, ignore
from manifests.rundir.rerun_command import rerun_command
from manifests.rundir.verify import ALL, Needed


def refuse_other_steps(
    files: RunFiles,
    manifest: Manifest,
    steps: Optional[Tuple[int, Optional[int]]],
    moved: Mapping[str, str],
) -> None:
    """Raise CannotRun for steps (None: all) that the directory does not have the data of; data
    that a person names may have them. A slice has no others than its own, whatever is named."""
    after, end = steps or (0, None)
    if steps is None:
        refuse_beyond_slice(files, manifest, 0, manifest.identity.steps)
    held = held_steps(files)
    if held is None or moved:
        return
    if held[0] <= after and (end or manifest.identity.steps) <= held[1]:
        return
    raise CannotRun(
        f"{files.root}: is an export of steps {held[0] + 1}..{held[1]} of "
        f"{manifest.identity.steps}: it does not have what other steps need",
        f"run these: {rerun_command(files, manifest)}; or import an export of the whole run",
    )


def needed_of(files: RunFiles, manifest: Manifest, warn: Warn = ignore) -> Needed:
    """Which samples the directory is to have."""
    held = held_steps(files)
    if held is None:
        return ALL
    try:
        return plan_slice(files, manifest, *held, warn).needed
    except CannotRun:
        return ALL  # what keeps these steps from being run is found for itself
