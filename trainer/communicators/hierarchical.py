"""``hierarchical``: inside the node to its first rank, between first ranks, back inside the node.

The two-level scheme of ChainerMN (Akiba, Fukuda, Suzuki 2017, arXiv:1710.11351), which Chainer 7
has no more. Only one rank of each node speaks to other nodes.
"""

from __future__ import annotations

from typing import Any, Optional

import chainer

from trainer.communicators import pieces
from trainer.communicators.nodes import NodeOf, Nodes
from trainer.communicators.packed import Buffer, Packed


class Hierarchical:
    """Sums: in rank order inside each node, then recursive doubling over the nodes.

    Nodes of different size would do for the scheme; they are refused, because the identity of a
    run holds the numbers of ranks and nodes alone, and these must decide the order of summation.
    """

    def __init__(self, mpi: Any, nodes: int, node_of: Optional[NodeOf] = None) -> None:
        self._ranks: int = mpi.Get_size()
        self._nodes = Nodes("hierarchical", mpi, nodes, node_of)
        self._packed = Packed()
        self.local_rank: int = self._nodes.inside.Get_rank()

    def average_gradients(self, model: chainer.Link) -> None:
        self._packed.average(model, self._ranks, self._add)

    def _add(self, buffer: Buffer) -> Buffer:
        inside = self._nodes.inside
        # Every rank adds a piece: the first rank alone would add all of all others.
        pieces.gather(inside, pieces.reduce_scatter(inside, buffer), buffer)
        if self.local_rank == 0:
            pieces.allreduce(self._nodes.across, buffer)
        inside.Bcast(buffer, root=0)
        return buffer
