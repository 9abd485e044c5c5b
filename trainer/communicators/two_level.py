"""What schemes that sum by node have in common: the ranks of a node, and their like on others."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Optional

import chainer

from trainer.communicators.host_sum import HostSum
from trainer.communicators.inside import inside_node
from trainer.communicators.nodes import NodeOf, Nodes
from trainer.communicators.packed import Buffer, PackedGradients
from trainer.gpu.gpu import Gpu


class TwoLevel(ABC):
    """Sums: in rank order inside each node (on GPUs in NCCL's), then recursive doubling over nodes.

    Nodes of different size would do for ``hierarchical``; they are refused, because the identity of
    a run holds the numbers of ranks and nodes alone, and these must decide the order of summation.
    """

    name: str

    def __init__(
        self, mpi: Any, nodes: int, gpu: Optional[Gpu] = None, node_of: Optional[NodeOf] = None
    ) -> None:
        places = Nodes(self.name, mpi, nodes, node_of)
        self.local_rank: int = places.inside.Get_rank()
        self._inside = inside_node(places.inside, gpu)
        self._across = HostSum(places.across, gpu)
        self._packed = PackedGradients(mpi.Get_size(), gpu, self._inside.unit)

    def average_gradients(self, model: chainer.Link) -> None:
        self._packed.average(model, self._add)

    @abstractmethod
    def _add(self, buffer: Buffer) -> None:
        """Replace the buffer of every rank by the sum of all."""
