"""Slices of a run against it, and what several of them show together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Callable, List, Optional

import pytest

from manifests.record.outcome import Stretch
from manifests.record.schema import Slice
from manifests.record.slice_set import drawn, even_cuts, slices_between
from manifests.verdict.compare import RunRecord, compare, exit_code, lines
from manifests.verdict.comparison import Comparison, StepsClaim
from manifests.verdict.slices import gathered, share_text

STATES = {4: "4" * 64, 8: "8" * 64}
ROOT = "d" * 64


@pytest.fixture
def whole(manifest: Any, result: Any, trail: Any) -> RunRecord:
    """A run of 12 steps, which kept the states after 4 and 8."""
    made, records = manifest(epochs=12), trail(2, 12, 5)
    outcome = result(made, records[0][-1].parameters, "0" * 64, b"model", 12)
    ends = {**STATES, 12: "e" * 64}
    states = [Stretch(step=step, trail="", state=state) for step, state in ends.items()]
    outcome = outcome.model_copy(update={"states": states, "root": ROOT})
    return RunRecord(
        "whole", made, outcome, records, done=True, model="whole/model.npz", states=STATES
    )


@pytest.fixture
def part_of(whole: RunRecord, result: Any) -> Callable[..., RunRecord]:
    """A slice of it; ``states`` are those that it recorded itself, by default the right ones."""

    def make(begin: int, end: int, after: Optional[int] = None, **changes: Any) -> RunRecord:
        asked = Slice(begin=begin, after=begin if after is None else after, end=end)
        circumstance = whole.manifest.circumstance.model_copy(update={"slice": asked})
        manifest = whole.manifest.model_copy(update={"circumstance": circumstance})
        assert whole.trail is not None
        first = begin + 1 if begin else 0
        records = [[one for one in rank if first <= one.step <= end] for rank in whole.trail]
        tensors = whole.result.digests.tensors if whole.result else {}
        outcome = result(manifest, tensors, "1" * 64, b"model", end)
        states = {step: state for step, state in STATES.items() if step in (begin, end)}
        values = {"trail": records, "states": states, "model": "part/model.npz", **changes}
        return RunRecord("part", manifest, outcome, done=True, **values)

    return make


def test_an_inner_slice_says_what_is_shown_and_what_is_not(
    whole: RunRecord, part_of: Callable[..., RunRecord]
) -> None:
    found = compare(whole, part_of(4, 8, after=5))
    assert (found.verdict, exit_code(found.verdict)) == ("identical", 0)
    assert lines(found, full=True)[:16] == [
        "verdict: identical for steps 6..8 of 12",
        "  a: whole",
        "  b: part",
        "  - samples and losses of 4 steps on 2 ranks are equal, and so are the tensor digests of "
        "1 step",
        f"  - the state after step 4 of both: {STATES[4]}",
        f"  - the state after step 8 of both: {STATES[8]}",
        "shown:",
        "  + steps 5..8 follow bit for bit from the state after step 4, with the recorded code, "
        "image, data and settings",
        f"  + the state after step 4 is the one that result.json records, under the root {ROOT}",
        "  + they end on the state that is recorded after step 8",
        "not shown:",
        "  - steps 1..4 and steps 9..12",
        "  - how the state after step 4 came about",
        "  - the final model, and rows of the log",
        "metadata that differs (a | b):",
        "  slice.begin: absent | 4",
    ]
    assert compare(part_of(4, 8, after=5), whole).verdict == "identical"


def test_the_last_slice_ends_on_the_model(
    whole: RunRecord, part_of: Callable[..., RunRecord]
) -> None:
    found = compare(whole, part_of(8, 12))
    assert found.verdict == "identical" and found.steps is not None
    assert found.steps.claimed[-1] == "they end on the recorded parameters and model file"
    assert any(text.startswith("results/model.npz of both") for text in found.evidence)
    part = part_of(8, 12)
    assert part.result is not None
    digests = part.result.digests.model_copy(update={"model": "f" * 64})
    other = replace(part, result=part.result.model_copy(update={"digests": digests}))
    assert compare(whole, other).verdict == "diverged"


def test_the_model_of_an_inner_slice_is_compared_with_nothing(
    whole: RunRecord, part_of: Callable[..., RunRecord]
) -> None:
    assert compare(replace(whole, model=None), part_of(4, 8, model=None)).verdict == "identical"


def test_a_difference_in_a_step_or_in_the_state_at_the_end(
    whole: RunRecord, part_of: Callable[..., RunRecord]
) -> None:
    part = part_of(4, 8)
    assert part.trail is not None
    part.trail[1][2] = part.trail[1][2].model_copy(update={"loss": (9.0).hex()})
    found = compare(whole, part)
    assert lines(found)[0] == "verdict: diverged in steps 5..8 of 12"
    assert found.first_difference is not None and found.first_difference.step == 7

    arrays = {"optimizer/a/v.npy": "1", "parameters/a/W.npy": "2"}
    odd = {**arrays, "optimizer/a/v.npy": "9"}
    part = part_of(4, 8, states={4: STATES[4], 8: "9" * 64}, entries={8: odd})
    found = compare(replace(whole, entries={8: arrays}), part)
    assert found.verdict == "diverged"
    assert found.evidence[0] == (
        f"the state after step 8 {STATES[8]} | {'9' * 64}: 1 of 2 arrays differ: optimizer/a/v.npy"
    )


def test_a_slice_that_is_not_whole_shows_nothing(
    whole: RunRecord, part_of: Callable[..., RunRecord]
) -> None:
    part = part_of(4, 8)
    assert part.trail is not None
    cut = replace(part, done=False, trail=[rank[:2] for rank in part.trail])
    found = compare(whole, cut)
    assert found.verdict == "inconclusive"
    assert "2 of 4 steps were compared" in found.evidence
    apart = compare(part_of(0, 4), part_of(8, 12))
    assert apart.verdict == "inconclusive"
    assert "the two have no step in common" in apart.evidence
    assert lines(apart)[0] == "verdict: inconclusive"


def test_a_state_that_nothing_binds_is_said(
    whole: RunRecord, part_of: Callable[..., RunRecord]
) -> None:
    assert whole.result is not None
    old = replace(
        whole, states={}, result=whole.result.model_copy(update={"states": None, "root": None})
    )
    found = compare(old, part_of(8, 12, states={}))
    assert found.verdict == "identical" and found.steps is not None
    assert not found.steps.bound
    assert (
        "that the state after step 8 is one of the run: result.json has no digest of it"
        in found.steps.not_claimed
    )
    inner = compare(old, part_of(4, 6, states={}))
    assert inner.steps is not None
    assert "the optimizer after step 6: the run kept no state there" in inner.steps.not_claimed


# --- together -------------------------------------------------------------------------------


def slice_verdict(begin: int, end: int, verdict: Any = "identical", **changes: Any) -> Comparison:
    claim = StepsClaim(
        **{
            "begin": begin, "after": begin, "end": end, "of": 12, "bound": True,
            "ends_on_a_state": True, **changes,
        }
    )  # fmt: skip
    return Comparison(verdict=verdict, a="whole", b=f"{begin}-{end}", evidence=["why"], steps=claim)


def together(*found: Comparison, **options: Any) -> Comparison:
    return gathered("whole", "folder", found, steps=12, root=ROOT, **options)


def test_all_slices_show_the_whole_run() -> None:
    found = together(slice_verdict(8, 12), slice_verdict(0, 4), slice_verdict(4, 8))
    assert lines(found) == [
        "verdict: identical, by 3 slices",
        "  a: whole",
        "  b: folder",
        "  - slice of steps 1..4: identical (0-4)",
        "  - slice of steps 5..8: identical (4-8)",
        "  - slice of steps 9..12: identical (8-12)",
        "shown:",
        "  + all 12 steps follow bit for bit from the seed, with the recorded code, image, data "
        "and settings: the first slice begins with the state that follows from the seed, each ends "
        "on the state with which the next begins, and the last on the recorded parameters and "
        f"model file, under the root {ROOT}",
        "not shown:",
        "  - rows of the log before the last",
    ]


@pytest.mark.parametrize(
    ("slices", "evidence"),
    [
        ([(4, 8), (8, 12)], ["no slice has steps 1..4"]),
        ([(0, 4), (8, 12)], ["no slice has steps 5..8"]),
        ([(0, 4), (4, 11)], ["no slice has step 12"]),
        ([], ["no slice has steps 1..12"]),
        (
            [(0, 6), (4, 12)],
            ["slice of steps 5..12 begins with the state after step 4, on which no slice ends"],
        ),
    ],
)
def test_gaps_and_broken_links_are_said(slices: List[Any], evidence: List[str]) -> None:
    found = together(*(slice_verdict(*ends) for ends in slices))
    assert (found.verdict, exit_code(found.verdict)) == ("inconclusive", 3)
    assert found.evidence[: len(evidence)] == evidence
    assert found.slices is not None and found.slices.claimed == []


def test_slices_that_overlap_are_said_and_no_fault() -> None:
    found = together(slice_verdict(0, 4), slice_verdict(0, 8), slice_verdict(4, 12))
    assert found.verdict == "identical"
    assert found.evidence[-2:] == [
        "more than one slice has steps 1..4",
        "more than one slice has steps 5..8",
    ]


def test_a_slice_that_ends_on_no_recorded_state_is_no_link() -> None:
    found = together(slice_verdict(0, 4, ends_on_a_state=False), slice_verdict(4, 12))
    assert found.verdict == "inconclusive"
    found = together(slice_verdict(0, 4), slice_verdict(4, 12, bound=False))
    assert found.verdict == "inconclusive"
    assert found.evidence[0] == (
        "slice of steps 5..12 begins with the state after step 4, of which result.json has no "
        "digest"
    )


@pytest.mark.parametrize(
    ("verdicts", "expected", "code"),
    [
        (("identical", "diverged", "cannot-run"), "diverged", 1),
        (("identical", "cannot-run", "inconclusive"), "cannot-run", 2),
        (("inconclusive", "identical", "identical"), "inconclusive", 3),
    ],
)
def test_the_worst_slice_decides(verdicts: Any, expected: str, code: int) -> None:
    ends = ((0, 4), (4, 8), (8, 12))
    found = together(*(slice_verdict(*e, verdict=v) for e, v in zip(ends, verdicts)))
    assert (found.verdict, exit_code(found.verdict)) == (expected, code)
    odd = [v for v in verdicts if v != "identical"]
    assert len([text for text in found.evidence if text.endswith(": why")]) == len(odd)


def test_a_sample_says_what_it_may_miss() -> None:
    found = together(slice_verdict(4, 8), of=3, seed="z")
    assert lines(found) == [
        "verdict: identical for 1 of 3 slices",
        "  a: whole",
        "  b: folder",
        "  - slice of steps 5..8: identical (4-8)",
        "shown:",
        "  + 1 of 3 slices, drawn by the root and seed z, follow bit for bit from the states with "
        "which they begin, and end on the recorded ones, with the recorded code, image, data and "
        f"settings, under the root {ROOT}",
        "not shown:",
        "  - the slices that were not drawn: with a share f of bad slices, K drawn ones miss them "
        "all with probability (1-f)^K at most",
        "  - where 50% of the slices are bad, this misses them with probability 0.5",
        "  - where 20% of the slices are bad, this misses them with probability 0.8",
        "  - where 10% of the slices are bad, this misses them with probability 0.9",
        "  - rows of the log",
    ]
    assert share_text(0.1, 20).endswith("probability 0.12")


def test_cuts_are_as_even_as_the_states_allow() -> None:
    assert even_cuts(504, 4, [126, 252, 378]) == [126, 252, 378]
    assert even_cuts(504, 2, [126, 252, 378]) == [252]
    assert even_cuts(504, 3, [126, 252, 378, 500]) == [126, 378]
    assert even_cuts(504, 1, []) == []
    assert even_cuts(504, 4, [126, 252]) is None
    assert even_cuts(12, 4, [1, 2, 3]) == [1, 2, 3]
    assert slices_between([4, 8], 12) == [(0, 4), (4, 8), (8, 12)]


def test_a_draw_follows_from_root_and_seed() -> None:
    assert drawn(ROOT, "z", 10, 3) == drawn(ROOT, "z", 10, 3)
    assert len({tuple(drawn(ROOT, str(seed), 10, 3)) for seed in range(20)}) > 10
    assert drawn(ROOT, "z", 10, 10) == list(range(10))
    assert drawn("e" * 64, "z", 100, 9) != drawn(ROOT, "z", 100, 9)
