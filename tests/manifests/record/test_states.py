"""Digests of states, the tree that binds them to the trail, and what is kept of a run's states."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from manifests.record import states
from manifests.record.checkpoint import Head, Prefix, Sums
from manifests.record.outcome import Observed, Result, ResultDigests, Stretch

DIGESTS = ResultDigests(parameters="a" * 64, tensors={}, trail="b" * 64, model="c" * 64)


def head(**changes: Any) -> Head:
    nothing = Prefix(length=0, sha256="")
    values: dict[str, Any] = {
        "identity_digest": "1" * 64,
        "steps_digest": "2" * 64,
        "step": 4,
        "ranks": 2,
        "entries": {"parameters/a/W.npy": "3" * 64, "optimizer/a/W/v.npy": "4" * 64},
        "trail": [nothing, nothing],
        "log": nothing,
        "sums": [
            Sums(loss=0.5 * rank, correct=1, correct_top5=2, samples=8, seconds=3.0)
            for rank in range(2)
        ],
        "elapsed": 7.0,
        "resumed_at": [],
    }
    return Head.model_validate({**values, **changes})


def result(**changes: Any) -> Result:
    ends = {4: "5" * 64, 8: "6" * 64, 10: states.end_digest(DIGESTS)}
    recorded = states.stretches(ends, [f"trail of {step}" for step in ends])
    seen = Observed(
        started="",
        finished="",
        seconds=1.0,
        versions={},
        cpu_model="",
        cpu_features=[],
        environment={},
        ranks=[],
    )
    whole = Result(
        identity_digest="1" * 64,
        steps=10,
        digests=DIGESTS,
        metrics={},
        observed=seen,
        states=recorded,
        root=states.tree_root("1" * 64, 2, 10, recorded),
    )
    return whole.model_copy(update=changes)


def test_a_state_is_all_that_later_steps_depend_on_and_no_time() -> None:
    same = states.state_digest(head())
    sums = [one.model_copy(update={"seconds": 99.0}) for one in head().sums]
    assert states.state_digest(head(elapsed=1.0, resumed_at=[2], sums=sums)) == same
    other = [head().sums[0], head().sums[1].model_copy(update={"loss": 0.25})]
    for change in (
        {"step": 5},
        {"ranks": 3},
        {"sums": other},
        {"entries": {**head().entries, "optimizer/a/W/v.npy": "9" * 64}},
    ):
        assert states.state_digest(head(**change)) != same


def test_stretches_hold_the_lines_of_their_steps() -> None:
    lines = [b'{"step": %d}\n' % step for step in range(6)]
    parts = [b"".join(lines[:3]), b"".join(lines[3:5]), lines[5]]
    expected = [hashlib.sha256(part).hexdigest() for part in parts]
    assert states.stretch_digests(lines, [2, 4, 5]) == expected
    # Only rank 0 has a record of step 0, and a slice begins later.
    assert states.stretch_digests(lines[3:], [4, 5]) == expected[1:]
    assert states.stretch_digests(lines[1:], [2, 4, 5])[1:] == expected[1:]


@pytest.mark.parametrize("lines", [[], [b'{"step": 1}\n'], [b'{"step": 2}\n', b'{"step": 3}\n']])
def test_a_trail_that_does_not_end_with_the_last_state_is_refused(lines: list[bytes]) -> None:
    with pytest.raises(ValueError, match=r"the trail ends at step (None|1|3), expected 2"):
        states.stretch_digests(lines, [2])


def test_the_digest_of_a_stretch_counts_every_rank_in_order() -> None:
    ranks = [["a", "b"], ["c", "d"]]
    assert states.trail_of_stretches(ranks) != states.trail_of_stretches(ranks[::-1])
    assert len(states.trail_of_stretches(ranks)) == 2


@pytest.mark.parametrize(("step", "after"), [(4, 0), (8, 4), (10, 8)])
def test_every_stretch_is_proven_alone(step: int, after: int) -> None:
    whole = result()
    shown = states.prove_stretch(whole, 2, step)
    assert shown is not None and whole.root is not None
    assert (shown.after, shown.leaves) == (after, 4)
    assert states.is_proven(shown, whole.root)
    read = states.StretchProof.model_validate_json(shown.model_dump_json())
    assert states.is_proven(read, whole.root)
    for change in ({"state": "0" * 64}, {"trail": "x"}, {"step": step + 1}):
        other = shown.stretch.model_copy(update=change)
        assert not states.is_proven(shown.model_copy(update={"stretch": other}), whole.root)
    assert not states.is_proven(shown.model_copy(update={"after": after + 1}), whole.root)
    assert not states.is_proven(shown.model_copy(update={"path": ["no digest"]}), whole.root)


def test_there_is_no_proof_without_a_state() -> None:
    assert states.prove_stretch(result(), 2, 5) is None
    assert states.prove_stretch(result(states=None, root=None), 2, 4) is None


def test_the_root_binds_identity_ranks_steps_and_every_state() -> None:
    whole = result()
    assert whole.states is not None
    assert states.root_problems(whole, 2) == []
    assert states.root_problems(result(states=None, root=None), 2) == []
    found = states.tree_root("1" * 64, 3, 10, whole.states)
    assert states.root_problems(whole, 3) == [
        f"result.json: states have the root {found}, root says {whole.root}"
    ]
    altered = [whole.states[0].model_copy(update={"state": "0" * 64}), *whole.states[1:]]
    found = states.tree_root("1" * 64, 2, 10, altered)
    assert states.root_problems(result(states=altered), 2) == [
        f"result.json: states have the root {found}, root says {whole.root}"
    ]


def test_the_last_state_is_the_result() -> None:
    other = DIGESTS.model_copy(update={"model": "d" * 64})
    assert states.root_problems(result(digests=other), 2) == [
        f"result.json: parameters and model have the digest {states.end_digest(other)}, "
        f"the last of states says {states.end_digest(DIGESTS)}"
    ]


@pytest.mark.parametrize("steps", [[], [4, 4, 10], [8, 4, 10], [0, 10], [4, 8]])
def test_states_that_do_not_divide_the_run_are_named(steps: list[int]) -> None:
    odd = [Stretch(step=step, trail="", state="") for step in steps]
    assert states.root_problems(result(states=odd), 2) == [
        f"result.json: states are those after steps {steps}, the run has 10"
    ]


@pytest.mark.parametrize(
    ("steps", "kept", "planned"),
    [
        (504, 3, [126, 252, 378]),
        (10, 1, [5]),
        (10, 3, [2, 5, 7]),
        (4, 3, [1, 2, 3]),
        (2, 3, [1]),
        (1, 3, []),
    ],
)
def test_the_archive_is_spread_over_the_run(steps: int, kept: int, planned: list[int]) -> None:
    assert states.archive_plan(steps, kept) == planned
