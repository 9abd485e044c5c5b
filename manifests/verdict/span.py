"""The steps that a slice and a run have in common, and what it shows that they are alike"""

from __future__ import annotations

from dataclasses import replace
from typing import List, NamedTuple, Optional, Tuple

from manifests.record.schema import Slice
from manifests.verdict.comparison import StepsClaim
from manifests.verdict.run_record import RunRecord


class Span(NamedTuple):
    """Steps after ``begin`` up to ``end`` that both have; those after ``after`` were asked for.
    ``of`` is the number of steps of the whole run."""

    begin: int
    after: int
    end: int
    of: int

    @property
    def text(self) -> str:
        return steps_text(self.after, self.end)

    @property
    def window(self) -> Tuple[int, int]:
        """The first and the last step with records in both; the state that follows from the seed is
        step 0 of a span that begins there."""
        return (self.begin + 1 if self.begin else 0), self.end

    @property
    def reaches_the_end(self) -> bool:
        return self.end == self.of


def steps_text(after: int, end: int) -> str:
    """``steps 127..252``: those after ``after`` up to ``end``; ``step 127`` where it is one."""
    return f"steps {after + 1}..{end}" if end - after > 1 else f"step {end}"


def common_span(a: RunRecord, b: RunRecord) -> Optional[Span]:
    """None where both are whole runs. The span of two slices without a common step is empty."""
    parts = [record.manifest.circumstance.slice for record in (a, b)]
    slices = [part for part in parts if part is not None]
    if not slices:
        return None
    return Span(
        begin=max(part.begin for part in slices),
        after=max(part.after for part in slices),
        end=min(part.end for part in slices),
        of=max(record.manifest.identity.steps for record in (a, b)),
    )


def narrowed(record: RunRecord, span: Span) -> RunRecord:
    """The record with the trail of these steps only."""
    first, last = span.window
    trail = record.trail and [
        [one for one in rank if first <= one.step <= last] for rank in record.trail
    ]
    return replace(record, trail=trail)


def states_evidence(a: RunRecord, b: RunRecord, span: Span) -> List[str]:
    """Sentences on the states of the span that both recorded and that differ."""
    sentences = []
    for step in _common_states(a, b, span):
        if a.states[step] != b.states[step]:
            sentences.append(
                f"the state after step {step} {a.states[step]} | {b.states[step]}"
                f"{_odd_entries(a, b, step)}"
            )
    return sentences


def states_agreement(a: RunRecord, b: RunRecord, span: Span) -> List[str]:
    return [
        f"the state after step {step} of both: {a.states[step]}"
        for step in _common_states(a, b, span)
        if a.states[step] == b.states[step]
    ]


def span_gaps(span: Span, compared: int) -> List[str]:
    """What is missing of a span where so many steps were compared."""
    wanted = max(span.end - span.begin, 0)
    if not wanted:
        return ["the two have no step in common"]
    return [f"{compared} of {wanted} steps were compared"] if compared < wanted else []


def _common_states(a: RunRecord, b: RunRecord, span: Span) -> List[int]:
    both = a.states.keys() & b.states.keys()
    return sorted(step for step in both if span.begin <= step <= span.end)


def _odd_entries(a: RunRecord, b: RunRecord, step: int) -> str:
    """Which entries of the two checkpoints differ, where both are still there."""
    of_a, of_b = a.entries.get(step), b.entries.get(step)
    if of_a is None or of_b is None:
        return ""
    odd = sorted(name for name in {*of_a, *of_b} if of_a.get(name) != of_b.get(name))
    if not odd:
        return ": the sums since the last row of the log differ"
    more = f" and {len(odd) - 3} more" if len(odd) > 3 else ""
    return f": {len(odd)} of {len(of_a)} arrays differ: {', '.join(odd[:3])}{more}"


def claim_of(a: RunRecord, b: RunRecord, span: Optional[Span]) -> Optional[StepsClaim]:
    """What it shows that two runs are alike in a span, and what it does not; None where that is not
    a span."""
    if span is None or span.end <= span.begin:
        return None
    recorded = next((one for one in (a, b) if one.manifest.circumstance.slice is None), a)
    result = recorded.result
    bound = span.begin == 0 or (
        result is not None
        and result.states is not None
        and span.begin in {one.step for one in result.states}
    )
    start = (
        "the state that follows from the seed"
        if span.begin == 0
        else f"the state after step {span.begin}"
    )
    one = span.end - span.begin == 1
    swapped = [one.manifest.circumstance.swapped for one in (a, b)]
    parts = "the recorded code, image, data and settings"
    if any(swapped):
        parts = "what was swapped as with what was recorded"
    claimed = [
        f"{steps_text(span.begin, span.end)} follow{'s' * one} bit for bit from {start}, "
        f"with {parts}"
    ]
    not_claimed = [" and ".join(others) for others in [_other_steps(span)] if others]
    if span.begin and bound:
        assert result is not None
        claimed.append(f"{start} is the one that result.json records, under the root {result.root}")
        not_claimed.append(f"how {start} came about")
    elif span.begin:
        not_claimed.append(f"that {start} is one of the run: result.json has no digest of it")
    if span.reaches_the_end:
        claimed.append("they end on the recorded parameters and model file")
        not_claimed.append("rows of the log before the last")
    else:
        ends = span.end in a.states.keys() & b.states.keys()
        if ends:
            claimed.append(f"they end on the state that is recorded after step {span.end}")
        else:
            not_claimed.append(f"the optimizer after step {span.end}: the run kept no state there")
        not_claimed.append("the final model, and rows of the log")
    return StepsClaim(
        begin=span.begin,
        after=span.after,
        end=span.end,
        of=span.of,
        bound=bound,
        ends_on_a_state=span.reaches_the_end or span.end in a.states.keys() & b.states.keys(),
        claimed=claimed,
        not_claimed=not_claimed,
    )


def not_run(part: Slice, of: int) -> StepsClaim:
    """The steps of a slice that could not be run."""
    return StepsClaim(begin=part.begin, after=part.after, end=part.end, of=of, bound=True)


def _other_steps(span: Span) -> List[str]:
    before = [steps_text(0, span.begin)] if span.begin else []
    return before + ([] if span.reaches_the_end else [steps_text(span.end, span.of)])
