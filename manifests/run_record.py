"""What of a run takes part in a comparison, and reading it from a run directory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import List, Optional

from container.trouble import Trouble
from manifests.records import (
    Warn,
    ignore,
    read_manifest,
    read_result,
    read_trail,
    trail_digest,
)
from manifests.schema import Manifest, Result, RunFiles, TrailRecord


@dataclass(frozen=True)
class RunRecord:
    """``trail`` holds the records of each rank; None where it is missing or damaged.

    ``faults`` are sentences on why the records cannot be relied on.
    """

    path: str
    manifest: Manifest
    result: Optional[Result] = None
    trail: Optional[List[List[TrailRecord]]] = None
    done: bool = False
    faults: List[str] = field(default_factory=list)


def load_record(files: RunFiles, warn: Warn = ignore) -> RunRecord:
    """Read a run. Raises Trouble for an unreadable manifest or result, not for a missing trail."""
    manifest = read_manifest(files, warn)
    result = read_result(files, warn) if files.result.exists() else None
    ranks = manifest.identity.world.ranks
    faults: List[str] = []
    trail = None
    try:
        trail = read_trail(files, ranks)
    except Trouble as trouble:
        faults += trouble.problems[:5]
    if trail is not None and result and trail_digest(files, ranks) != result.digests.trail:
        faults.append(f"{files.trail}: is not the trail that result.json speaks of")
    if result and result.identity_digest != manifest.identity_digest:
        faults.append(f"{files.result}: belongs to another manifest")
    return RunRecord(
        path=str(files.root),
        manifest=manifest,
        result=result,
        trail=trail,
        done=files.done.exists(),
        faults=faults,
    )
