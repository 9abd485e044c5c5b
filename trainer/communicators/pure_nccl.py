"""ChainerMN's ``pure_nccl``: one NCCL allreduce over the GPUs of all ranks, wherever they are."""

from __future__ import annotations

from typing import Any, Optional

import chainer

from trainer.communicators.nccl import Nccl
from trainer.communicators.nodes import node_communicator
from trainer.communicators.packed import PackedGradients
from trainer.gpu.gpu import Gpu
from trainer.trouble import TrainerError


class PureNccl:
    """Sums in NCCL's order. MPI only introduces the ranks to each other."""

    def __init__(self, mpi: Any, nodes: int, gpu: Optional[Gpu] = None) -> None:
        """Raises TrainerError without GPUs."""
        if gpu is None:
            raise TrainerError(
                "pure_nccl reduces between GPUs and this run has none",
                "submit a new run with another communicator, or on a stack with GPUs",
            )
        self.local_rank: int = node_communicator(mpi).Get_rank()
        self._ranks = Nccl(mpi, gpu)
        self._packed = PackedGradients(mpi.Get_size(), gpu)

    def average_gradients(self, model: chainer.Link) -> None:
        self._packed.average(model, self._ranks.all_reduce)
