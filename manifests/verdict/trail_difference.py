"""Where two trails part: the first step, the rank, and what differed in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Mapping, Optional, Sequence

from manifests.record.outcome import TrailRecord
from manifests.verdict.comparison import StepDifference, StepItem

Trail = Sequence[Sequence[TrailRecord]]
_BySteps = Dict[int, TrailRecord]


@dataclass(frozen=True)
class TrailFinding:
    """``first`` None: the trails agree wherever both have records.

    ``last_equal`` is the last step before the first difference that both have and in which all
    that both recorded was equal; ``last_parameters`` the last such step with tensor digests.
    ``steps`` counts the steps that both have, ``tensors`` those with tensor digests in both;
    ``a_end`` and ``b_end`` are the last steps recorded.
    """

    first: Optional[StepDifference]
    last_equal: Optional[int]
    last_parameters: Optional[int]
    steps: int
    tensors: int
    a_end: int
    b_end: int


def _tensor_names(a: Mapping[str, str], b: Mapping[str, str]) -> List[str]:
    order = [*a, *(name for name in b if name not in a)]
    return [name for name in order if a.get(name) != b.get(name)]


def record_items(rank: int, a: TrailRecord, b: TrailRecord) -> List[StepItem]:
    """What differs between two records of a step; tensor digests where both have them."""
    found = []
    if a.samples != b.samples:
        found.append(StepItem(rank=rank, what="samples", a=a.samples, b=b.samples))
    if a.loss != b.loss:
        found.append(StepItem(rank=rank, what="loss", a=a.loss, b=b.loss))
    if a.gradients is not None and b.gradients is not None:
        names = _tensor_names(a.gradients, b.gradients)
        if names:
            found.append(StepItem(rank=rank, what="gradients", tensors=names))
    if a.parameters is not None and b.parameters is not None:
        names = _tensor_names(a.parameters, b.parameters)
        if names:
            found.append(StepItem(rank=rank, what="parameters", tensors=names))
    return found


def missing_item(rank: int, in_a: bool, in_b: bool) -> StepItem:
    """A step that a rank recorded in one of two runs only."""
    sides = ["present" if there else "missing" for there in (in_a, in_b)]
    return StepItem(rank=rank, what="record", a=sides[0], b=sides[1])


def _step_items(step: int, a: Sequence[_BySteps], b: Sequence[_BySteps]) -> List[StepItem]:
    found: List[StepItem] = []
    for rank, (of_a, of_b) in enumerate(zip(a, b)):
        in_a, in_b = of_a.get(step), of_b.get(step)
        if in_a is not None and in_b is not None:
            found += record_items(rank, in_a, in_b)
        elif in_a is not None or in_b is not None:
            found.append(missing_item(rank, in_a is not None, in_b is not None))
    return found


def _has_parameters(step: int, ranks: Sequence[_BySteps]) -> bool:
    return any(step in rank and rank[step].parameters is not None for rank in ranks)


def trail_difference(a: Trail, b: Trail) -> TrailFinding:
    """Compare step by step over the ranks that both trails have.

    Tensor digests are compared where both have them, so that trails of different intervals can
    be compared. Steps past the end of the shortest file of either trail are not compared.
    """
    of_a: List[_BySteps] = [{record.step: record for record in rank} for rank in a]
    of_b: List[_BySteps] = [{record.step: record for record in rank} for rank in b]
    # Of a killed run one rank may have written a step that another had no time for.
    a_end = min((max(rank, default=-1) for rank in of_a), default=-1)
    b_end = min((max(rank, default=-1) for rank in of_b), default=-1)
    every = sorted({step for rank in (*of_a, *of_b) for step in rank if step <= min(a_end, b_end)})
    last_equal: Optional[int] = None
    last_parameters: Optional[int] = None
    steps = tensors = 0
    first = None
    for step in every:
        items = _step_items(step, of_a, of_b)
        if items:
            first = StepDifference(step=step, items=items)
            break
        steps += step > 0
        last_equal = step
        if _has_parameters(step, of_a) and _has_parameters(step, of_b):
            last_parameters = step
            tensors += 1
    return TrailFinding(first, last_equal, last_parameters, steps, tensors, a_end, b_end)
