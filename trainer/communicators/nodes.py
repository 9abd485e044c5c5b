"""Which ranks share a node, and whether they lie as the run's identity says."""

from __future__ import annotations

from typing import Any, Callable, List, Optional, Sequence

from manifests.record.communicators import counted
from trainer.trouble import TrainerError

#: Rank -> any number that the ranks of one node have in common and no others.
NodeOf = Callable[[int], int]


class Nodes:
    """Where this rank stands among ranks that lie on the nodes in equal blocks.

    ``inside`` is the MPI communicator of this rank's node, ``across`` that of the ranks with its
    number on each node; both are in rank order.
    """

    def __init__(self, name: str, mpi: Any, expected: int, node_of: Optional[NodeOf] = None):
        """Collective over ``mpi``. ``node_of`` replaces what MPI finds: nodes of shared memory.

        Raises TrainerError, on every rank, unless there are ``expected`` nodes and the ranks lie
        on them in equal blocks: the order of summation would not be that of the identity.
        """
        self.inside = node_communicator(mpi, node_of)
        first = self.inside.bcast(mpi.Get_rank(), root=0)
        problem = misplaced(name, mpi.allgather(first), expected)
        if problem is not None:
            raise TrainerError(problem, "start the job script as it is, on nodes of one kind")
        self.across = mpi.Split(color=self.inside.Get_rank(), key=mpi.Get_rank())


def node_communicator(mpi: Any, node_of: Optional[NodeOf] = None) -> Any:
    """The ranks on this rank's node, in rank order."""
    rank = mpi.Get_rank()
    if node_of is not None:
        return mpi.Split(color=node_of(rank), key=rank)
    from mpi4py import MPI

    return mpi.Split_type(MPI.COMM_TYPE_SHARED, key=rank)


def misplaced(name: str, first_of_node: Sequence[int], expected: int) -> Optional[str]:
    """What is wrong with the places of the ranks for the communicator ``name``, None if nothing.

    ``first_of_node`` holds, by rank, the first rank on the same node.
    """
    firsts = sorted(set(first_of_node))
    if len(firsts) != expected:
        return (
            f"{name}: the ranks lie on {counted(len(firsts), 'node')}, "
            f"the run was made for {counted(expected, 'node')}"
        )
    size, rest = divmod(len(first_of_node), expected)
    if not rest and list(first_of_node) == [k - k % size for k in range(len(first_of_node))]:
        return None
    places: List[str] = []
    for number, first in enumerate(firsts, 1):
        ranks = [str(rank) for rank, node in enumerate(first_of_node) if node == first]
        places.append(f"{', '.join(ranks)} on node {number}")
    return f"{name} needs as many ranks on each node, in blocks; found rank(s) {'; '.join(places)}"
