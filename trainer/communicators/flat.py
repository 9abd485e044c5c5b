"""ChainerMN's ``flat``: one MPI_Allreduce for all gradients at once.

Recursive doubling adds each element by the same tree whatever the length of the message, so the
bits are those of ``naive``.
"""

from __future__ import annotations

from typing import Any, Optional

import chainer

from trainer.communicators.host_sum import HostSum
from trainer.communicators.nodes import node_communicator
from trainer.communicators.packed import PackedGradients
from trainer.gpu.gpu import Gpu


class Flat:
    def __init__(self, mpi: Any, nodes: int, gpu: Optional[Gpu] = None) -> None:
        self.local_rank: int = node_communicator(mpi).Get_rank()
        self._packed = PackedGradients(mpi.Get_size(), gpu)
        self._sum = HostSum(mpi, gpu)

    def average_gradients(self, model: chainer.Link) -> None:
        self._packed.average(model, self._sum)
