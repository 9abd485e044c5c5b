"""Outlook: where a planned run will be, what it trains, how long it takes, which room it needs"""

from __future__ import annotations

import math
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Optional, Tuple

from container.trouble import Trouble
from manifests.flows.archive import array_bytes, checkpoint_bytes
from manifests.flows.plan import Plan
from manifests.host.context import HostContext
from manifests.host.hosting import on_nodes
from manifests.record.communicators import counted
from manifests.record.log_columns import ELAPSED, ITERATION
from manifests.record.network_shapes import network_shapes
from manifests.record.run_files import RunFiles
from manifests.record.schema import Manifest
from manifests.rundir.known_outs import known_outs
from manifests.rundir.outline import outline_of, read_outline
from manifests.rundir.progress import last_row
from manifests.rundir.records import read_manifest
from manifests.rundir.run_names import known_runs
from manifests.rundir.snapshot import recorded_files

#: Bytes of a row of a sample table with a path of ImageNet's, of a trail's record, and of a tensor
#: and its digest in one.
_TABLE_ROW, _TRAIL_RECORD, _TRAIL_TENSOR = 110, 200, 100
#: Earlier runs that are looked at, the newest first.
_LOOKED_AT = 50


@dataclass(frozen=True)
class Outlook:
    """``room`` and ``free`` (where the run will be) are bytes; ``seconds`` is what an earlier run
    ``like`` it would take: of the same network and size, with as many ranks, on the same site. The
    run does ``own`` of the ``steps``: fewer where it begins with a state of another run."""

    where: str
    what: str
    steps: int
    walltime: Optional[str]
    room: Optional[int]
    free: Optional[int]
    seconds: Optional[float] = None
    like: Optional[str] = None
    own: Optional[int] = None


def outlook_of(plan: Plan, host: HostContext) -> Outlook:
    manifest = plan.manifest
    like = _measured(manifest, host)
    return Outlook(
        where=_where(manifest),
        what=_what(manifest),
        steps=manifest.identity.steps,
        walltime=plan.placement.walltime,
        room=room_or_none(manifest),
        free=_free(plan.files.root.parent),
        seconds=like[0] if like else None,
        like=like[1] if like else None,
        own=_own_steps(manifest),
    )


def _own_steps(manifest: Manifest) -> int:
    resumed, part = manifest.circumstance.resumed, manifest.circumstance.slice
    if part is not None:
        return part.end - part.begin
    return manifest.identity.steps - (resumed.step if resumed else 0)


def _where(manifest: Manifest) -> str:
    placement, world = manifest.circumstance.placement, manifest.identity.world
    layout = placement.layout(world)
    ranks = counted(world.ranks, "rank")
    return ", ".join(
        [
            f"site {placement.site}",
            *([f"node type {placement.nodetype}"] if placement.nodetype else []),
            f"{ranks}, one process each, on {counted(layout.nodes, 'node')}"
            if layout.ranks == world.ranks
            else f"{ranks} in {on_nodes(layout)}",
            *([f"group {placement.group}"] if placement.group else []),
        ]
    )


def _what(manifest: Manifest) -> str:
    training, data = manifest.identity.training, manifest.identity.data
    return (
        f"{training.arch}, {training.nclasses} classes, {data.train.samples} training and "
        f"{data.val.samples} validation samples, "
        f"{counted(training.epochs, 'epoch')}, {training.batchsize} samples per rank and step, "
        f"{training.optimizer.name} lr {training.optimizer.lr:g}"
    )


def room_or_none(manifest: Manifest) -> Optional[int]:
    """None for a network of one's own, whose shapes nobody has written down."""
    try:
        return room_of(manifest)
    except KeyError:
        return None


def room_of(manifest: Manifest) -> int:
    """Bytes that the run directory will have at most, within some tenths: snapshot, tables, trail,
    model, and the checkpoints that are kept with the one that is being written."""
    identity, circumstance = manifest.identity, manifest.circumstance
    training, ranks = identity.training, identity.world.ranks
    shapes = network_shapes(training.arch, training.nclasses)
    parameters, statistics = array_bytes(shapes.parameters), array_bytes(shapes.statistics)
    saving = circumstance.checkpointing
    full_records = identity.steps // circumstance.observing.trail_interval + 2
    return sum(
        (
            sum(digest.size for digest in recorded_files(manifest).values()),
            (identity.data.train.samples + identity.data.val.samples) * _TABLE_ROW,
            4 * math.prod(identity.data.mean.shape),
            parameters + statistics if identity.data.initmodel else 0,
            identity.steps * ranks * _TRAIL_RECORD,
            full_records * 2 * len(shapes.parameters) * _TRAIL_TENSOR,
            parameters + statistics,
            (saving.kept + (saving.archive or 0) + 1) * checkpoint_bytes(manifest),
        )
    )


def _free(out: Path) -> Optional[int]:
    for folder in (out, *out.parents):
        with suppress(OSError):
            return shutil.disk_usage(folder).free
    return None


def _measured(wanted: Manifest, host: HostContext) -> Optional[Tuple[float, str]]:
    """Seconds for the steps of ``wanted`` at the speed of the newest run like it, and its path."""
    for run in known_runs(known_outs(host.cache))[: -_LOOKED_AT - 1 : -1]:
        files = RunFiles(run)
        with suppress(Trouble, OSError):
            if not _is_like(files, wanted):
                continue
            row: Dict[str, object] = last_row(files.log)
            seconds, steps = row.get(ELAPSED), row.get(ITERATION)
            if isinstance(seconds, float) and isinstance(steps, int) and steps > 0:
                return seconds / steps * _own_steps(wanted), str(run)
    return None


def _is_like(files: RunFiles, wanted: Manifest) -> bool:
    """The outline, which is small, is asked first."""
    outline, found = outline_of(wanted), read_outline(files)
    if any(getattr(found, name) != getattr(outline, name) for name in ("arch", "batch", "ranks")):
        return False
    manifest = read_manifest(files)
    return _conditions(manifest) == _conditions(wanted)


def _conditions(manifest: Manifest) -> Tuple[str, int, str, str, Optional[int]]:
    """What else decides how fast a step is."""
    placement, training = manifest.circumstance.placement, manifest.identity.training
    stack = manifest.identity.image.stack
    return stack, training.insize, training.precision, placement.site, placement.processes
