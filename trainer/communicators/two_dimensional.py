"""``two_dimensional``: each rank of a node carries one piece of the sum to the other nodes.

Reduce-scatter inside the node, allreduce between the ranks with the same number on each node,
allgather inside the node: ChainerMN's scheme (Akiba, Fukuda, Suzuki 2017, arXiv:1710.11351), which
Chainer 7 has no more.
"""

from __future__ import annotations

from typing import Any, Optional

import chainer

from trainer.communicators import pieces
from trainer.communicators.nodes import NodeOf, Nodes
from trainer.communicators.packed import Buffer, Packed


class TwoDimensional:
    """Sums: in rank order inside each node, then recursive doubling over the nodes.

    Element by element that is the order of ``hierarchical``, and so are the bits.
    """

    name = "two_dimensional"

    def __init__(self, mpi: Any, nodes: int, node_of: Optional[NodeOf] = None) -> None:
        self._ranks: int = mpi.Get_size()
        self._nodes = Nodes(self.name, mpi, nodes, node_of)
        self._packed = Packed()
        self.local_rank: int = self._nodes.inside.Get_rank()

    def average_gradients(self, model: chainer.Link) -> None:
        self._packed.average(model, self._ranks, self._add)

    def _add(self, buffer: Buffer) -> Buffer:
        piece = pieces.reduce_scatter(self._nodes.inside, buffer)
        if self._nodes.across.Get_size() > 1:
            pieces.allreduce(self._nodes.across, piece)
        pieces.allgather(self._nodes.inside, piece, buffer)
        return buffer
