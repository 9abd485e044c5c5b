"""What the ranks of one node do with each other's buffers, in host memory or on GPUs."""

from __future__ import annotations

from typing import Any, Optional, Protocol

from trainer.communicators.nccl import Nccl
from trainer.communicators.packed import Buffer
from trainer.communicators.pieces import InRankOrder
from trainer.gpu.gpu import Gpu


class Inside(Protocol):
    """Every method is collective over the ranks of the node."""

    @property
    def unit(self) -> int:
        """Buffers must hold a multiple of so many elements."""

    def reduce(self, buffer: Buffer) -> None:
        """Make the first rank's buffer the sum of all; those of the others are undefined then."""

    def broadcast(self, buffer: Buffer) -> None:
        """Make every buffer that of the first rank."""

    def reduce_scatter(self, buffer: Buffer) -> Buffer:
        """Return this rank's piece of the sum; the buffer is undefined then."""

    def all_gather(self, piece: Buffer, buffer: Buffer) -> None:
        """Put the pieces of all ranks, as ``reduce_scatter`` cuts them, together in ``buffer``."""


def inside_node(mpi: Any, gpu: Optional[Gpu]) -> Inside:
    """By NCCL between GPUs, without them by MPI. Collective."""
    return InRankOrder(mpi) if gpu is None else Nccl(mpi, gpu)
