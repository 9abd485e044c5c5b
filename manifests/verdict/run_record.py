"""What of a run takes part in a comparison, and reading it from a run directory."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Dict, List, Optional

from container.reachable import file_here
from container.trouble import Trouble
from manifests.record.checkpoint import Damaged, read_head
from manifests.record.checkpoint_names import checkpoint_name
from manifests.record.outcome import Result, TrailRecord
from manifests.record.run_files import RunFiles
from manifests.record.schema import Manifest
from manifests.record.states import state_digest
from manifests.rundir.kept_states import kept_states
from manifests.rundir.records import (
    Warn,
    ignore,
    read_manifest,
    read_result,
    read_trail,
    trail_digest,
    trail_files,
)
from manifests.rundir.verify import (
    altered_trail,
    file_problems,
    identity_problems,
    result_record_problems,
)


@dataclass(frozen=True)
class RunRecord:
    """``trail`` holds the records of each rank; None where it is missing or damaged.

    ``faults`` are sentences on what is missing or cannot be read; ``altered`` on files that are
    not those which the run left, so that nothing can be concluded from them. ``model`` is where the
    model file lies, None where it is gone. ``states`` are digests of its states by step,
    ``entries`` those of the arrays in some of them.
    """

    path: str
    manifest: Manifest
    result: Optional[Result] = None
    trail: Optional[List[List[TrailRecord]]] = None
    done: bool = False
    faults: List[str] = field(default_factory=list)
    altered: List[str] = field(default_factory=list)
    model: Optional[str] = None
    states: Dict[int, str] = field(default_factory=dict)
    entries: Dict[int, Dict[str, str]] = field(default_factory=dict)


def load_record(files: RunFiles, warn: Warn = ignore, *, with_trail: bool = True) -> RunRecord:
    """Read a run and hold what it left against its own digests.

    An altered trail takes no part in a comparison. Without ``with_trail`` a whole trail is left on
    the disk: each rank has an empty list of records, and who compares steps reads the files
    (manifests.verdict.step_states). Raises Trouble for an unreadable manifest or
    result, not for a missing trail.
    """
    manifest = read_manifest(files, warn)
    result = read_result(files, warn) if files.result.exists() else None
    ranks = manifest.identity.world.ranks
    faults: List[str] = []
    altered = list(identity_problems(files))
    trail = None
    try:
        trail = read_trail(files, ranks) if with_trail else _unread(files, ranks)
    except Trouble as trouble:
        faults += trouble.problems[:5]
    if result is not None:
        altered += result_record_problems(manifest, result)
        if file_here(files.model):
            altered += file_problems(files.model, "results/model.npz", result.digests.model)
        if trail is not None:
            found = trail_digest(files, ranks)
            if found != result.digests.trail:
                trail = None
                altered.append(altered_trail(found, result))
    try:
        states = kept_states(files, manifest, result).by_step
    except Trouble as trouble:
        states = {}
        faults += trouble.problems
    return RunRecord(
        path=str(files.root),
        manifest=manifest,
        result=result,
        trail=trail,
        done=files.done.exists(),
        faults=faults,
        altered=[f"{files.root}/{problem}" for problem in altered],
        model=str(files.model) if file_here(files.model) else None,
        states=states,
    )


def _unread(files: RunFiles, ranks: int) -> List[List[TrailRecord]]:
    return [[] for _ in trail_files(files, ranks)]


def with_entries(record: RunRecord, files: RunFiles, step: int) -> RunRecord:
    """With the digests of the arrays in the checkpoint after ``step``, where that still has the
    state that the run recorded."""
    try:
        head = read_head(files.checkpoints / checkpoint_name(step))
    except (Damaged, OSError):
        return record
    if state_digest(head) != record.states.get(step):
        return record
    return replace(record, entries={**record.entries, step: head.entries})
