"""ChainerMN's ``naive``: one MPI_Allreduce per parameter, in the order of their names.

The order of summation is Open MPI's; the run's ``--mca`` parameters fix it
(docs/determinism.md).
"""

from __future__ import annotations

from typing import Any

import chainer
import chainermn


class Naive:
    def __init__(self, mpi: Any, nodes: int) -> None:
        self._communicator = chainermn.create_communicator("naive", mpi)

    @property
    def local_rank(self) -> int:
        return int(self._communicator.intra_rank)

    def average_gradients(self, model: chainer.Link) -> None:
        self._communicator.multi_node_mean_grad(model)
