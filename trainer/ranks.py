"""The ranks of a run, the processes that compute them, and values that all of them exchange.

The number of ranks decides bits and is part of a run's identity; the number of processes is not. Of
P processes, process p computes the ranks p, p + P, p + 2P and so on (:func:`hosted_ranks`). P need
not divide the number of ranks.
"""

from __future__ import annotations

import sys
from typing import Any, List, Mapping, Optional, Sequence

import mpi4py
import numpy as np

from manifests.record.communicators import counted
from trainer.trouble import TrainerError

# Read when mpi4py.MPI is first imported: MPI begins in join() and ends with the process.
mpi4py.rc.initialize = False
mpi4py.rc.finalize = True


def rank_now(environment: Mapping[str, str]) -> int:
    """The first rank of this process, before MPI is up: it has the number that Open MPI's launcher
    announces. 0 without a launcher."""
    return int(environment.get("OMPI_COMM_WORLD_RANK", "0"))


def hosted_ranks(process: int, processes: int, ranks: int) -> range:
    """The ranks that a process computes, in rising order."""
    return range(process, ranks, processes)


class Ranks:
    """All ranks of a run; made by :func:`join`. ``mpi`` connects the processes."""

    def __init__(self, mpi: Any, size: Optional[int] = None, nodes: Optional[int] = None) -> None:
        """``size`` is the number of ranks; None: as many as processes. ``nodes`` are those that the
        job was asked for; None: those of the run's identity."""
        self.mpi = mpi
        self.process: int = mpi.Get_rank()
        self.processes: int = mpi.Get_size()
        self.size: int = self.processes if size is None else size
        self.nodes = nodes

    @property
    def rank(self) -> int:
        """The first rank of this process, which has the process's number."""
        return self.process

    @property
    def hosted(self) -> range:
        """The ranks that this process computes."""
        return hosted_ranks(self.process, self.processes, self.size)

    def gather(self, value: Any) -> List[Any]:
        """Every process's value, by process, on every process."""
        return list(self.mpi.allgather(value))

    def by_rank(self, own: Sequence[Any]) -> List[Any]:
        """``own``: one value for each rank of this process. All ranks' values, by rank, on every
        process."""
        everyones = self.gather(list(own))
        return [everyones[k % len(everyones)][k // len(everyones)] for k in range(self.size)]

    def from_first(self, value: Any) -> Any:
        """The value of the first process, on every process."""
        return self.mpi.bcast(value, root=0)

    def greatest(self, value: int) -> int:
        """The greatest of all processes' values (int32), on every process."""
        from mpi4py import MPI

        buffer = np.array([value], dtype=np.int32)
        self.mpi.Allreduce(MPI.IN_PLACE, buffer, op=MPI.MAX)
        return int(buffer[0])

    def sum(self, own: Sequence[float]) -> float:
        """``own``: one value for each rank of this process. Their sum over all ranks in float64,
        added in rank order: the same bits on every process, however many there are."""
        total = 0.0
        for part in self.by_rank(own):
            total += part
        return total

    def check_equal(self, digests: Mapping[str, str], when: str) -> None:
        """Raise TrainerError unless every process holds the same tensors.

        The ranks of one process share their parameters; nothing is compared between them.
        """
        everyones = self.gather(dict(digests))
        differing = [
            (process, name)
            for process, theirs in enumerate(everyones)
            for name in sorted(digests)
            if theirs.get(name) != everyones[0].get(name)
        ]
        if differing:
            rank, name = differing[0]
            raise TrainerError(
                f"the ranks do not hold the same parameters {when}: "
                f"{name} of rank {rank} differs from that of rank 0 "
                f"({len(differing)} differences in all)",
                "compare CPUs and software of the ranks' nodes; discard this run",
            )


def join(
    expected_ranks: int, processes: Optional[int] = None, nodes: Optional[int] = None
) -> Ranks:
    """Initialise MPI and meet the other processes: so many, or one for each rank.

    Raises TrainerError when their number is not the one that the job was made for.
    """
    from mpi4py import MPI

    MPI.Init()
    ranks = Ranks(MPI.COMM_WORLD, expected_ranks, nodes)
    expected = expected_ranks if processes is None else processes
    if not 1 <= expected <= expected_ranks:
        raise TrainerError(*impossible_processes(expected, expected_ranks))
    if ranks.processes != expected:
        raise TrainerError(*wrong_size(ranks.processes, expected, expected_ranks))
    return ranks


def impossible_processes(processes: int, ranks: int) -> tuple[str, str]:
    """Message and next step for a number of processes that no run of so many ranks can have."""
    return (
        f"{counted(ranks, 'rank')} cannot be computed by {counted(processes, 'process')}",
        f"start the job with 1 to {ranks} processes",
    )


def wrong_size(found: int, expected: int, ranks: int) -> tuple[str, str]:
    """Message and next step when MPI connects another number of processes than the job's."""
    if expected == ranks:
        message = f"MPI gives {counted(found, 'rank')}, the run was made for {expected}"
    else:
        message = (
            f"MPI gives {counted(found, 'process')}, "
            f"the job was made for {expected} (of a run of {counted(ranks, 'rank')})"
        )
    if found == 1:
        return (
            f"{message}: this process did not find the launcher",
            "use the Open MPI of the same family as the image's on the host, and do not start "
            "the container with --cleanenv or --containall",
        )
    return message, f"start the job script as it is (`mpirun -np {expected}`)"


def abort(code: int) -> None:
    """End all ranks at once, this one included; returns only where MPI is not up."""
    sys.stdout.flush()
    sys.stderr.flush()
    if "mpi4py.MPI" in sys.modules:
        from mpi4py import MPI

        if MPI.Is_initialized() and not MPI.Is_finalized():
            MPI.COMM_WORLD.Abort(code)
