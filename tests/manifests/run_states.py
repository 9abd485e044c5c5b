"""A finished run with kept states, made from one without: small checkpoints, states, root."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any, Dict, Sequence

from manifests.flows.slice_plan import SLICE_CODE
from manifests.record.canonical_json import digest_of
from manifests.record.checkpoint import Head, Prefix, Sums, read_head, steps_digest
from manifests.record.checkpoint_names import checkpoint_name
from manifests.record.outcome import Result
from manifests.record.run_files import RunFiles
from manifests.record.schema import Identity
from manifests.record.states import (
    State,
    States,
    end_digest,
    state_digest,
    stretch_digests,
    stretches,
    trail_of_stretches,
    tree_root,
)
from manifests.rundir.records import read_manifest, read_result

STEPS = 12
ENTRIES = ("parameters/conv/W.npy", "optimizer/conv/W/velocity.npy", "statistics/00001/b/mean.npy")


def with_states(files: RunFiles, steps: Sequence[int] = (4, 8)) -> RunFiles:
    """The run of the fixture `finished_run`, as a trainer of today leaves one of 12 steps."""
    identity = as_of_today(files)
    for step in steps:
        write_state(files, identity, step)
    heads = [read_head(files.checkpoints / checkpoint_name(step)) for step in steps]
    digests = {head.step: state_digest(head) for head in heads}
    record = States(states=[State(step=step, state=one) for step, one in digests.items()])
    files.states.write_text(record.model_dump_json())
    result = read_result(files)
    ends = {**digests, STEPS: end_digest(result.digests)}
    by_rank = [
        stretch_digests(files.trail_of(rank).read_bytes().splitlines(True), list(ends))
        for rank in range(2)
    ]
    recorded = stretches(ends, trail_of_stretches(by_rank))
    root = tree_root(identity.digest(), 2, STEPS, recorded)
    changed = {"states": recorded, "root": root}
    files.result.write_text(result.model_copy(update=changed).model_dump_json())
    return files


def as_of_today(files: RunFiles) -> Identity:
    """Give the run 12 epochs of one step, and a trainer that can end at any of them."""
    raw = json.loads(files.manifest.read_text())
    raw["identity"]["training"]["epochs"] = STEPS
    path = files.code / SLICE_CODE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("states\n")
    code = raw["identity"]["code"]
    data = path.read_bytes()
    code["files"][SLICE_CODE] = {
        "sha256": hashlib.sha256(data).hexdigest(),
        "size": len(data),
        "executable": False,
    }
    code["digest"] = digest_of(code["files"])
    identity = Identity.model_validate_json(json.dumps(raw["identity"]))
    raw["identity_digest"] = identity.digest()
    files.manifest.write_text(json.dumps(raw))
    edit_result(files, identity_digest=identity.digest())
    return read_manifest(files).identity


def edit_result(files: RunFiles, **changes: Any) -> Result:
    result = read_result(files).model_copy(update=changes)
    files.result.write_text(result.model_dump_json())
    return result


def write_state(
    files: RunFiles, identity: Identity, step: int, name: str = "", **changes: Any
) -> Path:
    """A checkpoint after ``step`` in the run; ``changes`` are fields of its head."""
    nothing = Prefix(length=0, sha256=hashlib.sha256(b"").hexdigest())
    arrays = {entry: f"{entry} after {step}".encode() for entry in ENTRIES}
    head = Head(
        **{
            "identity_digest": identity.digest(),
            "steps_digest": steps_digest(identity),
            "step": step,
            "ranks": 2,
            "entries": {entry: hashlib.sha256(data).hexdigest() for entry, data in arrays.items()},
            "trail": [nothing, nothing],
            "log": nothing,
            "sums": [
                Sums(loss=1.0, correct=1, correct_top5=1, samples=2, seconds=3.0) for _ in range(2)
            ],
            "elapsed": 1.0,
            "resumed_at": [],
            **changes,
        }
    )
    return write_zip(files.checkpoints / (name or checkpoint_name(step)), arrays, head)


def write_zip(path: Path, arrays: Dict[str, bytes], head: Head) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for entry, data in arrays.items():
            archive.writestr(entry, data)
        archive.writestr("head.json", head.model_dump_json())
    return path


def alter_entry(path: Path, entry: str, *, digest_too: bool) -> str:
    """Change one array of a checkpoint, and its digest in the head; the state's digest then."""
    with zipfile.ZipFile(path) as archive:
        arrays = {name: archive.read(name) for name in archive.namelist() if name != "head.json"}
    head = read_head(path)
    arrays[entry] += b"!"
    if digest_too:
        digest = hashlib.sha256(arrays[entry]).hexdigest()
        head = head.model_copy(update={"entries": {**head.entries, entry: digest}})
    write_zip(path, arrays, head)
    return state_digest(head)
