"""Every kind of message that training sends, tried between the ranks with known values."""

from __future__ import annotations

from typing import Any, Callable, Dict, List

import numpy as np

from trainer.communicators.exchange import make_exchange
from trainer.communicators.host_sum import HostSum
from trainer.communicators.nodes import node_communicator
from trainer.communicators.pieces import InRankOrder
from trainer.ranks import Ranks
from trainer.transport import transport
from trainer.trouble import TrainerError

#: float32 elements, and bytes: more than Open MPI sends at once, so that all its ways are taken.
LENGTH = 1 << 18
MANY_BYTES = 1 << 20


def wrong_messages(ranks: Ranks) -> List[str]:
    """The calls that gave this rank wrong values, by MPI's names. Collective.

    Raises TrainerError for a call that fails.
    """
    return [name for name, right in CALLS.items() if not _tried(name, right, ranks)]


def _tried(name: str, right: Callable[[Ranks], bool], ranks: Ranks) -> bool:
    try:
        return right(ranks)
    except Exception as error:
        raise TrainerError(
            f"{name} between the ranks fails over {transport()}: {error}",
            "let the site profile name another transport (docs/sites.md, Transport)",
        ) from error


def _allreduce(ranks: Ranks) -> bool:
    """Whole numbers, which float32 adds without an error."""
    buffer = np.full(LENGTH, ranks.rank + 1, dtype=np.float32)
    HostSum(ranks.mpi)(buffer)
    return bool((buffer == ranks.size * (ranks.size + 1) // 2).all())


def _maximum(ranks: Ranks) -> bool:
    return ranks.greatest(ranks.rank) == ranks.size - 1


def _allgather(ranks: Ranks) -> bool:
    return [len(value) for value in ranks.gather(bytes(MANY_BYTES + ranks.rank))] == [
        MANY_BYTES + rank for rank in range(ranks.size)
    ]


def _broadcast(ranks: Ranks) -> bool:
    return bool(ranks.from_first(bytes(MANY_BYTES)) == bytes(MANY_BYTES))


def _gather(ranks: Ranks) -> bool:
    found = ranks.mpi.gather({"rank": ranks.rank, "state": np.full(LENGTH, ranks.rank)}, root=0)
    return found is None or all(
        (value["state"] == rank).all() and value["rank"] == rank for rank, value in enumerate(found)
    )


def _matched_receive(ranks: Ranks) -> bool:
    """As the trail files travel to rank 0, small and large."""
    for size in (10, MANY_BYTES):
        if ranks.rank != 0:
            ranks.mpi.send(bytes([ranks.rank % 256]) * size, dest=0)
            continue
        for rank in range(1, ranks.size):
            if ranks.mpi.recv(source=rank) != bytes([rank % 256]) * size:
                return False
    return True


def _pieces(ranks: Ranks) -> bool:
    """Alltoallv, Allgatherv, Gatherv and Bcast, inside the node and across."""
    inside = node_communicator(ranks.mpi)
    across = ranks.mpi.Split(color=inside.Get_rank(), key=ranks.rank)
    return all(_pieces_of(mpi) for mpi in (inside, across, ranks.mpi))


def _pieces_of(mpi: Any) -> bool:
    size, steps = mpi.Get_size(), InRankOrder(mpi)
    total = size * (size + 1) // 2
    scattered, summed = (np.full(LENGTH, mpi.Get_rank() + 1, dtype=np.float32) for _ in range(2))
    steps.all_gather(steps.reduce_scatter(scattered), scattered)
    steps.reduce(summed)
    steps.broadcast(summed)
    return bool((scattered == total).all() and (summed == total).all())


def _exchange(ranks: Ranks) -> bool:
    """All processes at once to all others, in both directions."""
    exchange = make_exchange(ranks.mpi)
    buffer = np.full(LENGTH, ranks.rank + 1, dtype=np.float32)
    total: Any = sum(exchange.scatter(buffer, LENGTH, ranks.size))
    exchange.piece(buffer)[:] = total
    exchange.gather(buffer)
    return bool((buffer == ranks.size * (ranks.size + 1) // 2).all())


CALLS: Dict[str, Callable[[Ranks], bool]] = {
    "MPI_Allreduce": _allreduce,
    "MPI_Allreduce of a maximum": _maximum,
    "MPI_Allgather of objects": _allgather,
    "MPI_Bcast of objects": _broadcast,
    "MPI_Gather of objects": _gather,
    "MPI_Mrecv": _matched_receive,
    "MPI_Isend and MPI_Irecv": _exchange,
    "MPI_Alltoallv and MPI_Allgatherv": _pieces,
}
