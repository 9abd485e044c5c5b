"""States of a run: what a state's digest is of, and the Merkle tree that binds states and steps.

The kept states divide the steps of a run into stretches, each of which ends on a state. The leaves
of the tree are the run itself (identity, ranks, steps) and then the stretches in order. The last
one ends on the result. So the root of the tree stands for all steps and all kept states, and one
stretch can be shown with a proof of some hundred bytes.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Dict, Iterable, List, Mapping, Optional, Sequence

from pydantic import Field
from typing_extensions import Literal

from manifests.record import merkle_tree
from manifests.record.canonical_json import canonical_json, digest_of
from manifests.record.checkpoint import Head
from manifests.record.outcome import Result, ResultDigests, Stretch
from manifests.record.schema import Record
from manifests.record.version import SCHEMA_VERSION, check_version


class State(Record):
    """The state after ``step`` updates."""

    step: int = Field(ge=1)
    state: str  # state_digest


class States(Record):
    """``results/states.json``: the states whose checkpoints are kept, in order of their steps."""

    version: str = SCHEMA_VERSION
    kind: Literal["states"] = "states"
    states: List[State]

    def by_step(self) -> Dict[int, str]:
        return {one.step: one.state for one in self.states}


class StretchProof(Record):
    """One stretch of a run with what leads from it to the run's root: leaf ``index`` of a tree with
    ``leaves`` leaves; ``path`` are hashes, hexadecimal. Its steps begin after step ``after``."""

    after: int = Field(ge=0)
    stretch: Stretch
    index: int = Field(ge=1)
    leaves: int = Field(ge=2)
    path: List[str]


#: What counts of the sums of a rank.
_SUMMED = ("loss", "correct", "correct_top5", "samples")


def state_digest(head: Head) -> str:
    """sha256, hexadecimal, of all that the later steps depend on: every array's digest, the sums
    since the last row of the log, and the step. Times are left out: they differ between equal runs.
    A field that a later version adds to the records is not part of it.
    """
    return digest_of(
        {
            "step": head.step,
            "ranks": head.ranks,
            "entries": head.entries,
            "sums": [one.model_dump(mode="json", include=set(_SUMMED)) for one in head.sums],
        }
    )


def end_digest(digests: ResultDigests) -> str:
    """sha256, hexadecimal, of the state that a run ends on: its parameters and its model file."""
    return digest_of({"parameters": digests.parameters, "model": digests.model})


def read_states(path: Path) -> Dict[int, str]:
    """``results/states.json`` as digests by step; none where there is no such file.

    Raises ValueError for a file that is not a record of states, OSError as any reader.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return {}
    found = States.model_validate_json(data)
    check_version(found.version)
    return found.by_step()


def other_state(head: Head, recorded: Mapping[int, str]) -> str:
    """What is wrong with a checkpoint whose state is not the recorded one, without a subject; ""
    where it is the recorded one, or none is recorded for its step."""
    expected, found = recorded.get(head.step), state_digest(head)
    if expected is None or found == expected:
        return ""
    return f"was altered: its state has the digest {found}, expected {expected}"


# --- the trail in stretches -----------------------------------------------------------------


def stretch_digests(lines: Iterable[bytes], steps: Sequence[int]) -> List[str]:
    """sha256 of one rank's trail lines in each stretch; ``steps`` are the last ones of the
    stretches. The record of step 0 belongs to the first stretch.

    Raises ValueError where the lines end before the last step or the first is not a record.
    """
    found: List[str] = []
    digest, step = hashlib.sha256(), None
    for line in lines:
        step = int(json.loads(line)["step"]) if step is None else step + 1
        while len(found) < len(steps) and step > steps[len(found)]:
            found.append(digest.hexdigest())
            digest = hashlib.sha256()
        digest.update(line)
    if step is None or step != steps[-1]:
        raise ValueError(f"the trail ends at step {step}, expected {steps[-1]}")
    return [*found, digest.hexdigest()]


def trail_of_stretches(by_rank: Sequence[Sequence[str]]) -> List[str]:
    """Digest of each stretch over :func:`stretch_digests` of all ranks, in rank order."""
    return [digest_of(list(of_ranks)) for of_ranks in zip(*by_rank)]


def stretches(states: Mapping[int, str], trail: Sequence[str]) -> List[Stretch]:
    """Stretches by the step that each ends with, in order."""
    ordered = sorted(states.items())
    return [
        Stretch(step=step, trail=digest, state=state)
        for (step, state), digest in zip(ordered, trail)
    ]


# --- the tree -------------------------------------------------------------------------------


def run_leaf(identity_digest: str, ranks: int, steps: int) -> bytes:
    """Hash of the first leaf, 32 bytes."""
    return merkle_tree.leaf(
        canonical_json({"identity": identity_digest, "ranks": ranks, "steps": steps})
    )


def stretch_leaf(after: int, stretch: Stretch) -> bytes:
    """Hash of the leaf of one stretch, whose steps begin after ``after``; 32 bytes."""
    values = {
        "after": after,
        "step": stretch.step,
        "trail": stretch.trail,
        "state": stretch.state,
    }
    return merkle_tree.leaf(canonical_json(values))


def leaves_of(
    identity_digest: str, ranks: int, steps: int, states: Sequence[Stretch]
) -> List[bytes]:
    """Hashes of all leaves of a run's tree, in order."""
    begins = [0, *(stretch.step for stretch in states)]
    return [
        run_leaf(identity_digest, ranks, steps),
        *(stretch_leaf(after, stretch) for after, stretch in zip(begins, states)),
    ]


def tree_root(identity_digest: str, ranks: int, steps: int, states: Sequence[Stretch]) -> str:
    """The root of a run's tree, hexadecimal."""
    return merkle_tree.root(leaves_of(identity_digest, ranks, steps, states)).hex()


def prove_stretch(result: Result, ranks: int, step: int) -> Optional[StretchProof]:
    """The proof of the stretch that ends with ``step``; None where the run records none."""
    states = result.states or []
    places = [number for number, stretch in enumerate(states) if stretch.step == step]
    if not places:
        return None
    place = places[0]
    leaves = leaves_of(result.identity_digest, ranks, result.steps, states)
    return StretchProof(
        after=states[place - 1].step if place else 0,
        stretch=states[place],
        index=place + 1,
        leaves=len(leaves),
        path=[part.hex() for part in merkle_tree.proof(leaves, place + 1)],
    )


def is_proven(shown: StretchProof, root: str) -> bool:
    """Whether a shown stretch is one of the run with this root."""
    try:
        path, expected = [bytes.fromhex(part) for part in shown.path], bytes.fromhex(root)
    except ValueError:
        return False
    found = stretch_leaf(shown.after, shown.stretch)
    return merkle_tree.proves(found, shown.index, shown.leaves, path, expected)


def root_problems(result: Result, ranks: int) -> List[str]:
    """What does not fit together of a result's states, its digests and its root."""
    states, recorded = result.states, result.root
    if states is None or recorded is None:
        return []
    steps = [stretch.step for stretch in states]
    if not steps or steps != sorted(set(steps)) or steps[0] < 1 or steps[-1] != result.steps:
        return [f"result.json: states are those after steps {steps}, the run has {result.steps}"]
    problems = []
    end = end_digest(result.digests)
    if states[-1].state != end:
        problems.append(
            f"result.json: parameters and model have the digest {end}, "
            f"the last of states says {states[-1].state}"
        )
    found = tree_root(result.identity_digest, ranks, result.steps, states)
    if found != recorded:
        problems.append(f"result.json: states have the root {found}, root says {recorded}")
    return problems


# --- which states are kept ------------------------------------------------------------------


def archive_plan(steps: int, states: int) -> List[int]:
    """The steps after which a run of so many steps keeps ``states`` states: they divide it into
    parts whose lengths differ by one step at most."""
    return sorted({steps * number // (states + 1) for number in range(1, states + 1)} - {0})
