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


def reduce_scatter(mpi: Any, buffer: Buffer) -> Buffer:
    """This rank's piece of ((rank 0 + rank 1) + rank 2) + …, elementwise over all ranks."""
    from mpi4py import MPI

    ranks, rank = mpi.Get_size(), mpi.Get_rank()
    edges = bounds(buffer.size, ranks)
    lengths = [end - begin for begin, end in zip(edges, edges[1:])]
    own = lengths[rank]
    arrived = np.empty((ranks, own), np.float32)
    mpi.Alltoallv(
        [buffer, (lengths, edges[:-1]), MPI.FLOAT],
        [arrived, ([own] * ranks, [own * k for k in range(ranks)]), MPI.FLOAT],
    )
    total: Buffer = arrived[0]
    for part in arrived[1:]:
        total += part
    return total


def gather(mpi: Any, piece: Buffer, whole: Buffer) -> None:
    """Put the pieces of all ranks together in ``whole`` of the first rank."""
    from mpi4py import MPI

    edges = bounds(whole.size, mpi.Get_size())
    lengths = [end - begin for begin, end in zip(edges, edges[1:])]
    target = [whole, (lengths, edges[:-1]), MPI.FLOAT] if mpi.Get_rank() == 0 else None
    mpi.Gatherv([piece, MPI.FLOAT], target, root=0)


def allgather(mpi: Any, piece: Buffer, whole: Buffer) -> None:
    """Put the pieces of all ranks together in ``whole`` of every rank."""
    from mpi4py import MPI

    edges = bounds(whole.size, mpi.Get_size())
    lengths = [end - begin for begin, end in zip(edges, edges[1:])]
    mpi.Allgatherv([piece, MPI.FLOAT], [whole, (lengths, edges[:-1]), MPI.FLOAT])


def allreduce(mpi: Any, buffer: Buffer) -> None:
    """Sum in place by MPI; recursive doubling, as the run's ``--mca`` parameters say."""
    from mpi4py import MPI

    mpi.Allreduce(MPI.IN_PLACE, [buffer, MPI.FLOAT], op=MPI.SUM)
