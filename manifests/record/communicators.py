"""What of a communicator others than the trainer must know: where it can run, and how it sums."""

from __future__ import annotations

from typing import Dict, NamedTuple, Tuple


class CommunicatorKind(NamedTuple):
    """``sums_by_node``: the order of its sums follows the nodes, so their number decides bits.
    ``host_memory``: ranks meet in host memory only, also those on GPUs; the others use NCCL there,
    which refuses two ranks on one GPU."""

    needs_gpus: bool = False
    one_node: bool = False
    sums_by_node: bool = False
    host_memory: bool = False

    def can_be_hosted(self, *, with_gpus: bool) -> bool:
        """Whether its order of sums is this project's own, so that any number of processes can add
        in it. On GPUs NCCL adds inside the nodes, in an order of its own."""
        return not (self.needs_gpus or (with_gpus and self.sums_by_node))


COMMUNICATOR_KINDS: Dict[str, CommunicatorKind] = {
    "pure_nccl": CommunicatorKind(needs_gpus=True),
    "hierarchical": CommunicatorKind(sums_by_node=True),
    "two_dimensional": CommunicatorKind(sums_by_node=True),
    "single_node": CommunicatorKind(one_node=True, sums_by_node=True),
    "flat": CommunicatorKind(host_memory=True),
    "naive": CommunicatorKind(host_memory=True),
    "ordered": CommunicatorKind(),
}


def unhosted(name: str, ranks: int, nodes: int, processes: int) -> Tuple[str, str]:
    """Message and next step where a communicator cannot be hosted."""
    return (
        f"{name} adds by NCCL in an order of its own: {counted(ranks, 'rank')} cannot be computed "
        f"by {counted(processes, 'process')} with the same bits",
        f"run it with one process and one GPU for each rank on {counted(nodes, 'node')}; runs with "
        "communicator ordered, flat or naive can be computed by fewer",
    )


def counted(number: int, noun: str) -> str:
    """``1 rank``, ``2 ranks``, ``2 processes``."""
    ending = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{number} {noun}{ending}"
