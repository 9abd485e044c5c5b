"""The ranks of a run: their number, and values that all of them exchange."""

from __future__ import annotations

import sys
from typing import Any, List, Mapping

import mpi4py
import numpy as np

from trainer.trouble import TrainerError

# Read when mpi4py.MPI is first imported: MPI begins in join() and ends with the process.
mpi4py.rc.initialize = False
mpi4py.rc.finalize = True


def rank_now(environment: Mapping[str, str]) -> int:
    """The rank as Open MPI's launcher announces it, before MPI is up; 0 without a launcher."""
    return int(environment.get("OMPI_COMM_WORLD_RANK", "0"))


class Ranks:
    """All ranks of a run; made by :func:`join`."""

    def __init__(self, mpi: Any) -> None:
        self.mpi = mpi
        self.rank: int = mpi.Get_rank()
        self.size: int = mpi.Get_size()

    def gather(self, value: Any) -> List[Any]:
        """Every rank's value, by rank, on every rank."""
        return list(self.mpi.allgather(value))

    def from_first(self, value: Any) -> Any:
        """Rank 0's value, on every rank."""
        return self.mpi.bcast(value, root=0)

    def greatest(self, value: int) -> int:
        """The greatest of all ranks' values (int32), on every rank."""
        from mpi4py import MPI

        buffer = np.array([value], dtype=np.int32)
        self.mpi.Allreduce(MPI.IN_PLACE, buffer, op=MPI.MAX)
        return int(buffer[0])

    def sum(self, value: float) -> float:
        """Sum in float64, added in rank order: the same bits on every rank."""
        total = 0.0
        for part in self.gather(value):
            total += part
        return total

    def check_equal(self, digests: Mapping[str, str], when: str) -> None:
        """Raise TrainerError unless every rank holds the same tensors."""
        everyones = self.gather(dict(digests))
        differing = [
            (rank, name)
            for rank, theirs in enumerate(everyones)
            for name in sorted(digests)
            if theirs.get(name) != everyones[0].get(name)
        ]
        if differing:
            rank, name = differing[0]
            raise TrainerError(
                f"the ranks do not hold the same parameters {when}: "
                f"{name} of rank {rank} differs from that of rank 0 "
                f"({len(differing)} differences in all)",
                "compare CPUs and software of the ranks' nodes; this run is of no use",
            )


def join(expected_ranks: int) -> Ranks:
    """Initialise MPI and meet the other ranks.

    Raises TrainerError when their number is not the one that the run was made for.
    """
    from mpi4py import MPI

    MPI.Init()
    ranks = Ranks(MPI.COMM_WORLD)
    if ranks.size != expected_ranks:
        raise TrainerError(*wrong_size(ranks.size, expected_ranks))
    return ranks


def wrong_size(found: int, expected: int) -> tuple[str, str]:
    """Message and next step for a number of ranks other than the run's."""
    message = f"MPI gives {found} rank{'s' * (found != 1)}, the run was made for {expected}"
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
