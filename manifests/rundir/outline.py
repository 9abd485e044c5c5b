"""``outline.json``: what `list` and `status` need of a manifest, which is long, in little"""

from __future__ import annotations

import json
from typing import Optional

from pydantic import BaseModel, ConfigDict, ValidationError
from typing_extensions import Literal

from container import atomic
from manifests.record.run_files import RunFiles
from manifests.record.schema import Manifest
from manifests.record.version import SCHEMA_VERSION
from manifests.rundir.records import read_manifest

RunKind = Literal["run", "rerun", "resumed"]


class Outline(BaseModel):
    """``of`` is the run that is repeated, or whose checkpoint it began with; ``batch`` counts the
    samples of a step of all ranks, ``walltime`` is hh:mm:ss."""

    model_config = ConfigDict(extra="allow", frozen=True)

    version: str = SCHEMA_VERSION
    kind: Literal["outline"] = "outline"
    run_kind: RunKind
    of: Optional[str] = None
    arch: str
    steps: int
    epochs: int
    batch: int
    ranks: int
    walltime: Optional[str] = None


def outline_of(manifest: Manifest) -> Outline:
    identity, circumstance = manifest.identity, manifest.circumstance
    rerun, resumed = circumstance.rerun_of, circumstance.resumed
    return Outline(
        run_kind="rerun" if rerun else "resumed" if resumed else "run",
        of=rerun or (resumed.run if resumed else None),
        arch=identity.training.arch,
        steps=identity.steps,
        epochs=identity.training.epochs,
        batch=identity.training.batchsize * identity.world.ranks,
        ranks=identity.world.ranks,
        walltime=circumstance.placement.walltime,
    )


def write_outline(files: RunFiles, manifest: Manifest) -> None:
    atomic.write_json(files.outline, outline_of(manifest).model_dump(mode="json"))


def read_outline(files: RunFiles) -> Outline:
    """Of the manifest itself where there is none, as in runs of earlier versions, or it is not
    whole. Raises Trouble for a damaged manifest."""
    try:
        return Outline.model_validate(json.loads(files.outline.read_bytes()))
    except (OSError, ValueError, ValidationError):
        return outline_of(read_manifest(files))
