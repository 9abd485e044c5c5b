"""Verdicts on slices -> the verdict on the run that they are of (pure)"""

from __future__ import annotations

from typing import List, Optional, Sequence, Tuple

from manifests.verdict.comparison import Comparison, SlicePart, SlicesClaim, Verdict
from manifests.verdict.span import steps_text

#: The first of these that a slice has is the verdict on all.
_WORST: Tuple[Verdict, ...] = ("diverged", "cannot-run", "inconclusive")
#: Shares of bad slices for which it is said how likely a sample misses them.
_SHARES = (0.5, 0.2, 0.1)


def gathered(
    run: str,
    folder: Optional[str],
    found: Sequence[Comparison],
    *,
    steps: int,
    root: Optional[str],
    of: Optional[int] = None,
    seed: Optional[str] = None,
) -> Comparison:
    """The verdict on a run of so many ``steps`` from those on its slices, each of which has its
    ``steps``. With a ``seed`` they were drawn from ``of`` slices, else they are all of the run.
    """
    ordered = sorted(found, key=lambda one: (_ends(one), one.b or ""))
    parts = [_part(one) for one in ordered]
    sampled = seed is not None
    problems = _differing(ordered) or broken_links(parts) + ([] if sampled else holes(parts, steps))
    verdict = next((v for v in _WORST if v in [one.verdict for one in ordered]), None)
    if verdict is None:
        verdict = "inconclusive" if problems else "identical"
    shares = [share_text(share, len(parts)) for share in _SHARES] if sampled else []
    claim = SlicesClaim(steps=steps, of=of or len(parts), seed=seed, root=root, parts=parts)
    same = verdict == "identical"
    claim = claim.model_copy(
        update={
            "claimed": claimed(claim) if same else [],
            "not_claimed": _not_claimed(claim, shares) if same else [],
        }
    )
    overlaps = [] if sampled else doubled(parts)
    return Comparison(
        verdict=verdict,
        a=run,
        b=folder,
        evidence=[*problems, *_agreement(ordered), *overlaps],
        first_difference=next(
            (one.first_difference for one in ordered if one.first_difference), None
        ),
        next_step=next((one.next_step for one in ordered if one.next_step), None),
        slices=claim,
    )


def _ends(one: Comparison) -> Tuple[int, int]:
    return (one.steps.begin, one.steps.end) if one.steps else (0, 0)


def _part(one: Comparison) -> SlicePart:
    assert one.steps is not None
    return SlicePart(
        begin=one.steps.begin,
        end=one.steps.end,
        verdict=one.verdict,
        run=one.b,
        bound=one.steps.bound,
        ends_on_a_state=one.steps.ends_on_a_state,
    )


def _named(part: SlicePart) -> str:
    return f"slice of {steps_text(part.begin, part.end)}"


def _differing(found: Sequence[Comparison]) -> List[str]:
    return [
        f"{_named(_part(one))}: {one.verdict}: {text}"
        for one in found
        if one.verdict != "identical"
        for text in one.evidence[:3]
    ]


def _agreement(found: Sequence[Comparison]) -> List[str]:
    return [
        f"{_named(_part(one))}: identical ({one.b})" for one in found if one.verdict == "identical"
    ]


def broken_links(parts: Sequence[SlicePart]) -> List[str]:
    """Slices that begin with a state on which none of the others ends, where another one lies
    before it, and states that the run's result does not record."""
    problems = []
    ends = {part.end for part in parts if part.ends_on_a_state}
    for part in parts:
        if part.begin and not part.bound:
            problems.append(
                f"{_named(part)} begins with the state after step {part.begin}, of which "
                "result.json has no digest"
            )
        before = [other for other in parts if other.begin < part.begin <= other.end]
        if before and part.begin not in ends:
            problems.append(
                f"{_named(part)} begins with the state after step {part.begin}, on which no slice "
                "ends"
            )
    return problems


def holes(parts: Sequence[SlicePart], steps: int) -> List[str]:
    """Steps that no slice has."""
    problems, done = [], 0
    for begin, end in sorted((part.begin, part.end) for part in parts):
        if begin > done:
            problems.append(f"no slice has {steps_text(done, begin)}")
        done = max(done, end)
    return problems + ([f"no slice has {steps_text(done, steps)}"] if done < steps else [])


def doubled(parts: Sequence[SlicePart]) -> List[str]:
    """Steps that more than one slice has; that is no fault."""
    texts, done = [], 0
    for begin, end in sorted((part.begin, part.end) for part in parts):
        if begin < done:
            texts.append(f"more than one slice has {steps_text(begin, min(done, end))}")
        done = max(done, end)
    return texts


def share_text(share: float, count: int) -> str:
    """How likely so many slices, drawn at random, miss a share of bad ones."""
    missed = (1 - share) ** count
    return (
        f"where {share:.0%} of the slices are bad, this misses them with probability {missed:.2g}"
    )


def claimed(claim: SlicesClaim) -> List[str]:
    under = f", under the root {claim.root}" if claim.root else ""
    if claim.seed is None:
        return [
            f"all {claim.steps} steps follow bit for bit from the seed, with the recorded code, "
            "image, data and settings: the first slice begins with the state that follows from the "
            "seed, each ends on the state with which the next begins, and the last on the recorded "
            f"parameters and model file{under}",
        ]
    return [
        f"{len(claim.parts)} of {claim.of} slices, drawn by the root and seed {claim.seed}, follow "
        "bit for bit from the states with which they begin, and end on the recorded ones, with the "
        f"recorded code, image, data and settings{under}",
    ]


def _not_claimed(claim: SlicesClaim, shares: Sequence[str]) -> List[str]:
    if claim.seed is None:
        return ["rows of the log before the last"]
    return [
        "the slices that were not drawn: with a share f of bad slices, K drawn ones miss them all "
        "with probability (1-f)^K at most",
        *shares,
        "rows of the log",
    ]
