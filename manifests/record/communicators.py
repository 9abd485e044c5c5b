"""What of a communicator others than the trainer must know: where it can run, and how it sums."""

from __future__ import annotations

from typing import Dict, NamedTuple


class CommunicatorKind(NamedTuple):
    """``sums_by_node``: the order of its sums follows the nodes, so their number decides bits."""

    needs_gpus: bool = False
    one_node: bool = False
    sums_by_node: bool = False


COMMUNICATOR_KINDS: Dict[str, CommunicatorKind] = {
    "pure_nccl": CommunicatorKind(needs_gpus=True),
    "hierarchical": CommunicatorKind(sums_by_node=True),
    "two_dimensional": CommunicatorKind(sums_by_node=True),
    "single_node": CommunicatorKind(one_node=True, sums_by_node=True),
    "flat": CommunicatorKind(),
    "naive": CommunicatorKind(),
}
