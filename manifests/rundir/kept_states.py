"""The states of a run on disk: which ones it recorded, and whether its checkpoints are those"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional

from container.reachable import folder_problem
from container.trouble import Trouble
from manifests.record.checkpoint import Damaged, Head, damage, read_head, steps_digest
from manifests.record.checkpoint_names import checkpoint_name
from manifests.record.communicators import counted
from manifests.record.outcome import Result
from manifests.record.run_files import RunFiles
from manifests.record.schema import Manifest
from manifests.record.states import (
    other_state,
    read_states,
    stretch_digests,
    trail_of_stretches,
)
from manifests.rundir.present_states import present_states
from manifests.rundir.rank_code import counted_code
from manifests.rundir.records import RESTORE

#: A snapshot with this file has a trainer that records states, and can end at any step.
STATES_CODE = "manifests/record/states.py"

#: What a link, a pipe or a device is that stands where a file should: it may never end.
IRREGULAR = "is not a regular file"


def records_states(manifest: Manifest) -> bool:
    """Whether the trainer in the run's own snapshot records states and can end before the last
    step."""
    return STATES_CODE in manifest.identity.code.files


@dataclass(frozen=True)
class KeptStates:
    """Digests of a run's states by step.

    ``bound``: they are those of ``result.json``, whose root binds them, and a checkpoint of another
    step is none of the run's. Without it they are ``noted``, what ``results/states.json`` has.
    """

    by_step: Dict[int, str]
    bound: bool
    noted: Dict[int, str]


def kept_states(files: RunFiles, manifest: Manifest, result: Optional[Result]) -> KeptStates:
    """The states that a run recorded. Raises Trouble for a record that cannot be read."""
    noted = noted_states(files)
    if result is None or result.states is None:
        return KeptStates(noted, False, noted)
    part = manifest.circumstance.slice
    begin = {} if part is None else {s: d for s, d in noted.items() if s == part.begin}
    ends = {one.step: one.state for one in result.states if one.step < manifest.identity.steps}
    return KeptStates({**begin, **ends}, True, noted)


def noted_states(files: RunFiles) -> Dict[int, str]:
    """``results/states.json``. Raises Trouble for a record that cannot be read."""
    try:
        if irregular(files.states):
            raise ValueError(IRREGULAR)
        return read_states(files.states)
    except OSError as error:
        raise Trouble(f"{files.states} cannot be read: {error.strerror}", RESTORE) from error
    except ValueError as error:
        raise Trouble(f"{files.states}: is not a record of states", RESTORE) from error


def irregular(path: Path) -> bool:
    """Whether something is there that is no file, nor a link to one. Raises OSError."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        return False


def checkpoint_problem(
    checkpoint: Path, files: RunFiles, manifest: Manifest, kept: KeptStates
) -> str:
    """What is wrong with one checkpoint of a run, without its name; "" for a state of the run.
    Reads all of the file."""
    problem = IRREGULAR if irregular(checkpoint) else damage(checkpoint)
    return problem or head_problem(checkpoint, files, manifest, kept)


def head_problem(checkpoint: Path, files: RunFiles, manifest: Manifest, kept: KeptStates) -> str:
    """As :func:`checkpoint_problem`, as far as the head says it: the arrays are not read."""
    if irregular(checkpoint):
        return IRREGULAR
    try:
        head = read_head(checkpoint)
    except Damaged as error:
        return str(error)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if checkpoint.name != checkpoint_name(head.step):
        return f"has the state after step {head.step}"
    return foreign(head, files, manifest) or state_problem(head, kept)


def of_another_run(head: Head, ranks: int) -> str:
    """What is said of a state that a run of so many ``ranks`` did not make."""
    if head.ranks == ranks:
        return "was made by another run"
    return (
        f"was made by a run of {counted(head.ranks, 'rank')}, "
        f"this run has {ranks}: processes may change, ranks may not"
    )


def foreign(head: Head, files: RunFiles, manifest: Manifest) -> str:
    """Why a state is not one of a run with this identity; "" if it may be."""
    ranks = manifest.identity.world.ranks
    identity, names = manifest.identity, counted_code(files, manifest)
    digests = steps_digest(identity, names), steps_digest(identity)
    if head.ranks != ranks or head.steps_digest not in digests:
        return of_another_run(head, ranks)
    return ""


def state_problem(head: Head, kept: KeptStates) -> str:
    if kept.bound and head.step not in kept.by_step:
        return f"result.json records no state after step {head.step}"
    return other_state(head, kept.by_step)


def states_problems(files: RunFiles, manifest: Manifest, result: Optional[Result]) -> List[str]:
    """Mismatches of the checkpoints that are there, and of what is recorded of states.

    A checkpoint that is gone by now made room for a newer one, or for other files.
    """
    try:
        kept = kept_states(files, manifest, result)
    except Trouble as trouble:
        return trouble.problems
    problems = [
        f"results/states.json: the state after step {step} is {kept.noted.get(step, 'missing')}, "
        f"result.json has {state}"
        for step, state in sorted(kept.by_step.items())
        if kept.noted.get(step) != state
    ]
    why = folder_problem(files.checkpoints)
    if why.startswith("cannot be read"):
        problems.append(f"results/checkpoints: {why}")
    for path in present_states(files):
        try:
            text = checkpoint_problem(path, files, manifest, kept)
        except OSError as error:
            text = f"cannot be read: {error.strerror}"
        if text and path.exists():
            problems.append(f"results/checkpoints/{path.name}: {text}")
    return problems


def missing_states(manifest: Manifest, result: Result) -> List[str]:
    """What a result does not record of states that the run's trainer did write into it."""
    if not records_states(manifest):
        return []
    whole = manifest.circumstance.slice is None  # a slice has no root
    wanted = {"states": result.states, **({"root": result.root} if whole else {})}
    return [
        f"result.json: {name} is missing: the run's trainer writes it"
        for name, value in wanted.items()
        if value is None
    ]


def stretch_problems(files: RunFiles, manifest: Manifest, result: Result) -> List[str]:
    """Whether the trail, which is the run's, has the digests that its stretches have in
    ``result.json``."""
    if result.states is None:
        return []
    steps = [one.step for one in result.states]
    by_rank = []
    for rank in range(manifest.identity.world.ranks):
        try:
            with files.trail_of(rank).open("rb") as lines:
                by_rank.append(stretch_digests(lines, steps))
        except (OSError, ValueError):
            return [f"results/trail: rank {rank} has no record of the last step"]
    return [
        f"result.json: the trail up to step {one.step} has the digest {found}, "
        f"states says {one.trail}"
        for one, found in zip(result.states, trail_of_stretches(by_rank))
        if one.trail != found
    ]
