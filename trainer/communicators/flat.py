"""ChainerMN's ``flat``: one MPI_Allreduce for all gradients at once.

Recursive doubling adds each element by the same tree whatever the length of the message, so the
bits are those of ``naive``.
"""

from __future__ import annotations

from typing import Any

import chainer

from trainer.communicators.nodes import node_communicator
from trainer.communicators.packed import Buffer, Packed
from trainer.communicators.pieces import allreduce


class Flat:
    def __init__(self, mpi: Any, nodes: int) -> None:
        self._mpi = mpi
        self._packed = Packed()
        self.local_rank: int = node_communicator(mpi).Get_rank()

    def average_gradients(self, model: chainer.Link) -> None:
        self._packed.average(model, self._mpi.Get_size(), self._add)

    def _add(self, buffer: Buffer) -> Buffer:
        allreduce(self._mpi, buffer)
        return buffer
