"""``two_dimensional``: each rank of a node carries one piece of the sum to the other nodes.

Reduce-scatter inside the node, allreduce between the ranks with the same number on each node,
allgather inside the node: ChainerMN's scheme (Akiba, Fukuda, Suzuki 2017, arXiv:1710.11351), which
Chainer 7 has no more.
"""

from __future__ import annotations

from trainer.communicators.packed import Buffer
from trainer.communicators.two_level import TwoLevel


class TwoDimensional(TwoLevel):
    """Without GPUs each element is added as by ``hierarchical``, and so the bits are the same."""

    name = "two_dimensional"

    def _add(self, buffer: Buffer) -> None:
        piece = self._inside.reduce_scatter(buffer)
        self._across(piece)
        self._inside.all_gather(piece, buffer)
