"""How gradients are averaged over the ranks, by the name of the key ``communicator``."""

from __future__ import annotations

from typing import Any, Dict, Optional, Protocol

import chainer

from manifests.record.communicators import COMMUNICATOR_KINDS, unhosted
from trainer.communicators.flat import Flat
from trainer.communicators.hierarchical import Hierarchical
from trainer.communicators.naive import Naive
from trainer.communicators.ordered import Ordered, TreeReduction
from trainer.communicators.pure_nccl import PureNccl
from trainer.communicators.single_node import SingleNode
from trainer.communicators.summation import ORDERS
from trainer.communicators.two_dimensional import TwoDimensional
from trainer.gpu.gpu import Gpu
from trainer.ranks import Ranks
from trainer.trouble import CannotPromise


class Communicator(Protocol):
    @property
    def local_rank(self) -> int:
        """Rank among those on the same host."""

    def average_gradients(self, model: chainer.Link) -> None:
        """Replace each gradient by its mean over the ranks, in a fixed order of summation."""


class MakeCommunicator(Protocol):
    def __call__(self, mpi: Any, nodes: int, gpu: Optional[Gpu] = None) -> Communicator:
        """Collective over ``mpi``, all ranks of the run, which was made for so many nodes.

        ``gpu`` if gradients are CuPy's; each rank's device must be the current one then. Raises
        TrainerError when the ranks do not lie as the communicator needs it.
        """


COMMUNICATORS: Dict[str, MakeCommunicator] = {
    "pure_nccl": PureNccl,
    "hierarchical": Hierarchical,
    "two_dimensional": TwoDimensional,
    "single_node": SingleNode,
    "flat": Flat,
    "naive": Naive,
    "ordered": Ordered,
}


class Reduction(Protocol):
    """The mean of all ranks' gradients, where a process computes one rank after another."""

    @property
    def local_rank(self) -> int:
        """This process's number among those on the same host."""

    def add(self, model: chainer.Link) -> None:
        """Take the gradients of this process's next rank."""

    def finish(self, model: chainer.Link) -> None:
        """After the last rank of this process: replace the gradients by the mean of all ranks, the
        same bits on every process. Collective over the processes."""


class OneRankEach:
    """A communicator as ChainerMN has them: each process computes one rank."""

    def __init__(self, communicator: Communicator) -> None:
        self._communicator = communicator
        self.local_rank = communicator.local_rank

    def add(self, model: chainer.Link) -> None:
        pass

    def finish(self, model: chainer.Link) -> None:
        self._communicator.average_gradients(model)


def make_reduction(name: str, ranks: Ranks, nodes: int, gpu: Optional[Gpu] = None) -> Reduction:
    """The communicator itself where the processes lie as the run's identity says, else sums in its
    order; ``nodes`` are the identity's. Collective.

    Raises CannotPromise where that order is NCCL's.
    """
    kind = COMMUNICATOR_KINDS[name]
    elsewhere = ranks.nodes is not None and ranks.nodes != nodes and kind.sums_by_node
    if ranks.processes == ranks.size and not elsewhere:
        return OneRankEach(COMMUNICATORS[name](ranks.mpi, nodes, gpu))
    if not kind.can_be_hosted(with_gpus=gpu is not None):
        raise CannotPromise(*unhosted(name, ranks.size, nodes, ranks.processes))
    return TreeReduction(ranks.mpi, ORDERS[name](ranks.size, nodes), gpu)
