"""ChainerMN's ``naive``: one MPI_Allreduce per parameter, in the order of their names.

The order of summation is Open MPI's; the run's ``--mca`` parameters fix it
(docs/determinism.md).
"""

from __future__ import annotations

from typing import Any, Optional

import chainer
import chainermn
import numpy as np

from trainer.communicators.host_sum import HostSum
from trainer.communicators.packed import gradients_of
from trainer.gpu.gpu import Gpu


class Naive:
    def __init__(self, mpi: Any, nodes: int, gpu: Optional[Gpu] = None) -> None:
        self._communicator = chainermn.create_communicator("naive", mpi)
        self._gpu = gpu
        self._sum = HostSum(mpi, gpu)
        self._share = np.float32(1.0 / mpi.Get_size())

    @property
    def local_rank(self) -> int:
        return int(self._communicator.intra_rank)

    def average_gradients(self, model: chainer.Link) -> None:
        if self._gpu is None:
            self._communicator.multi_node_mean_grad(model)
            return
        # ChainerMN would hand GPU memory to MPI.
        for gradient in gradients_of(model):
            flat = gradient.ravel()
            self._sum(flat)
            gradient[...] = flat.reshape(gradient.shape)
            gradient *= self._share
