"""How gradients are averaged over the ranks, by the name of the key ``communicator``."""

from __future__ import annotations

from typing import Any, Dict, Optional, Protocol

import chainer

from trainer.communicators.flat import Flat
from trainer.communicators.hierarchical import Hierarchical
from trainer.communicators.naive import Naive
from trainer.communicators.pure_nccl import PureNccl
from trainer.communicators.single_node import SingleNode
from trainer.communicators.two_dimensional import TwoDimensional
from trainer.gpu.gpu import Gpu


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
}
