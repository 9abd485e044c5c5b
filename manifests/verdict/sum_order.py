"""Which order of summation gives a recorded mean gradient (pure)"""

from __future__ import annotations

from typing import Dict, List, Mapping, Optional

from manifests.record.step_trace import RankTrace, added_text
from manifests.verdict.trace_difference import entries_of


def means_by_block(trace: RankTrace) -> Dict[int, Dict[str, str]]:
    """Block -> digests by parameter name of the mean whose ranks were added in such blocks; those
    that rank 0 computed of all ranks' own gradients."""
    found: Dict[int, Dict[str, str]] = {}
    for entry in entries_of(trace, "orders"):
        tensor, _, order = entry.tensor.partition(", ")
        block = int(order.rpartition(" ")[2])
        assert order == added_text(block)
        found.setdefault(block, {})[f"{entry.layer}/{tensor}"] = entry.digest
    return found


def blocks_that_give(trace: RankTrace, gradients: Mapping[str, str]) -> List[int]:
    """The blocks whose means are all of ``gradients``; more than one where the order does not show
    in them, as with two ranks."""
    if not gradients:
        return []
    return [block for block, means in means_by_block(trace).items() if means == dict(gradients)]


def order_text(block: int, ranks: int) -> str:
    if block == ranks:
        return "one rank after another"
    if block == 1:
        return "ranks in pairs, pairs in pairs, and so on"
    return f"blocks of {block} ranks one after another, then the blocks in pairs"


def other_order(
    trace: RankTrace, here: Mapping[str, str], there: Mapping[str, str]
) -> Optional[str]:
    """A sentence where ``there`` is the mean of the same gradients as ``here``, added in another
    order; None where no order of this project gives it."""
    ranks = max(means_by_block(trace), default=1)
    of_here, of_there = blocks_that_give(trace, here), blocks_that_give(trace, there)
    if not of_there or set(of_here) & set(of_there):
        return None
    own = f"{order_text(of_here[0], ranks)}" if of_here else "another order"
    other = order_text(of_there[0], ranks)
    return f"the same gradients added in another order: {own} here, {other} there"
