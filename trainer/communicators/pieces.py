"""Sums in rank order: each rank adds up one piece of everyone's buffer.

MPI only moves the pieces here; additions are NumPy's, so their order is this file's alone and
no parameter of an MPI library can change it.
"""

from __future__ import annotations

from typing import Any, List

import numpy as np

from trainer.communicators.packed import Buffer


def bounds(size: int, ranks: int) -> List[int]:
    """Where the pieces of a buffer begin, and its end: ranks + 1 numbers, nearly equally spaced."""
    return [size * rank // ranks for rank in range(ranks + 1)]


class InRankOrder:
    """:class:`trainer.communicators.inside.Inside` for buffers in host memory, by MPI.

    Sums are ((rank 0 + rank 1) + rank 2) + …, elementwise.
    """

    unit = 1

    def __init__(self, mpi: Any) -> None:
        self._mpi = mpi

    def reduce(self, buffer: Buffer) -> None:
        from mpi4py import MPI

        # Every rank adds a piece: the first rank alone would add all of all others.
        piece = self.reduce_scatter(buffer)
        target = self._pieces_of(buffer) if self._mpi.Get_rank() == 0 else None
        self._mpi.Gatherv([piece, MPI.FLOAT], target, root=0)

    def broadcast(self, buffer: Buffer) -> None:
        self._mpi.Bcast(buffer, root=0)

    def reduce_scatter(self, buffer: Buffer) -> Buffer:
        from mpi4py import MPI

        ranks, rank = self._mpi.Get_size(), self._mpi.Get_rank()
        edges = bounds(buffer.size, ranks)
        own = edges[rank + 1] - edges[rank]
        arrived = np.empty((ranks, own), np.float32)
        self._mpi.Alltoallv(
            self._pieces_of(buffer),
            [arrived, ([own] * ranks, [own * k for k in range(ranks)]), MPI.FLOAT],
        )
        total: Buffer = arrived[0]
        for part in arrived[1:]:
            total += part
        return total

    def all_gather(self, piece: Buffer, buffer: Buffer) -> None:
        from mpi4py import MPI

        self._mpi.Allgatherv([piece, MPI.FLOAT], self._pieces_of(buffer))

    def _pieces_of(self, buffer: Buffer) -> List[Any]:
        from mpi4py import MPI

        edges = bounds(buffer.size, self._mpi.Get_size())
        lengths = [end - begin for begin, end in zip(edges, edges[1:])]
        return [buffer, (lengths, edges[:-1]), MPI.FLOAT]
