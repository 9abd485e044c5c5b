"""``outline.json``: what `list` and `status` need of a manifest, which is long, in little

Read without pydantic: `list` reads thousands. It is written with the manifest and never changed.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Dict, Literal, Optional

from manifests.record.run_files import RunFiles
from manifests.record.version import SCHEMA_VERSION, UnsupportedVersion, check_version

if TYPE_CHECKING:
    from manifests.record.schema import Manifest

RunKind = Literal["run", "rerun", "resumed"]


@dataclass(frozen=True)
class Outline:
    """``of`` is the run that is repeated, or whose checkpoint it began with; ``batch`` counts the
    samples of a step of all ranks, ``walltime`` is hh:mm:ss. The ``steps`` of a slice are those up
    to its end."""

    run_kind: RunKind
    arch: str
    steps: int
    epochs: int
    batch: int
    ranks: int
    of: Optional[str] = None
    walltime: Optional[str] = None
    version: str = SCHEMA_VERSION
    kind: Literal["outline"] = "outline"


_TYPES = {
    "run_kind": (str,),
    "arch": (str,),
    "steps": (int,),
    "epochs": (int,),
    "batch": (int,),
    "ranks": (int,),
    "of": (str, type(None)),
    "walltime": (str, type(None)),
    "version": (str,),
    "kind": (str,),
}
_REQUIRED = ("run_kind", "arch", "steps", "epochs", "batch", "ranks", "version")
#: No count is greater.
GREATEST = 2**53
_WALLTIME = re.compile(r"[0-9]{1,6}:[0-9]{2}:[0-9]{2}")
_NAMES = frozenset(field.name for field in fields(Outline))


def outline_of(manifest: Manifest) -> Outline:
    identity, circumstance = manifest.identity, manifest.circumstance
    rerun, resumed = circumstance.rerun_of, circumstance.resumed
    return Outline(
        run_kind="rerun" if rerun else "resumed" if resumed else "run",
        of=rerun or (resumed.run if resumed else None),
        arch=identity.training.arch,
        steps=circumstance.slice.end if circumstance.slice else identity.steps,
        epochs=identity.training.epochs,
        batch=identity.training.batchsize * identity.world.ranks,
        ranks=identity.world.ranks,
        walltime=circumstance.placement.walltime,
    )


def write_outline(files: RunFiles, manifest: Manifest) -> None:
    from container import atomic

    atomic.write_json(files.outline, asdict(outline_of(manifest)))


def read_outline(files: RunFiles) -> Outline:
    """Of the manifest itself where there is none, as in runs of earlier versions, or it is not
    whole. Raises Trouble for a damaged manifest."""
    try:
        with open(files.outline, "rb") as stream:
            found = parse_outline(json.loads(stream.read()))
    except (OSError, ValueError, RecursionError):
        found = None
    if found is not None:
        return found
    from manifests.rundir.records import read_manifest

    return outline_of(read_manifest(files))


def parse_outline(raw: Any) -> Optional[Outline]:
    """None for what is not an outline of this major version; fields of newer ones are left out."""
    if not isinstance(raw, dict) or any(name not in raw for name in _REQUIRED):
        return None
    known: Dict[str, Any] = {name: raw[name] for name in _NAMES & raw.keys()}
    if any(type(value) not in _TYPES[name] for name, value in known.items()):
        return None
    if known["run_kind"] not in ("run", "rerun", "resumed"):
        return None
    if not all(0 <= known[name] <= GREATEST for name in ("steps", "epochs", "batch", "ranks")):
        return None
    if known.get("walltime") is not None and not _WALLTIME.fullmatch(known["walltime"]):
        return None
    try:
        check_version(known["version"])
    except UnsupportedVersion:
        return None
    return Outline(**known)
