"""``single_node``: all ranks on one node; reduce-scatter and allgather, nothing between nodes."""

from __future__ import annotations

from typing import Any, Optional

from trainer.communicators.nodes import NodeOf
from trainer.communicators.two_dimensional import TwoDimensional
from trainer.gpu.gpu import Gpu


class SingleNode(TwoDimensional):
    """Sums in rank order. Refuses more than one node, whatever the run was made for."""

    name = "single_node"

    def __init__(
        self, mpi: Any, nodes: int, gpu: Optional[Gpu] = None, node_of: Optional[NodeOf] = None
    ) -> None:
        super().__init__(mpi, 1, gpu, node_of)
