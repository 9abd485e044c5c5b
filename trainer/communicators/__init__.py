"""How gradients are averaged over the ranks, by the name of the key ``communicator``."""

from __future__ import annotations

from typing import Any, Callable, Dict, Protocol

import chainer

from trainer.communicators.flat import Flat
from trainer.communicators.hierarchical import Hierarchical
from trainer.communicators.naive import Naive
from trainer.communicators.single_node import SingleNode
from trainer.communicators.two_dimensional import TwoDimensional


class Communicator(Protocol):
    @property
    def local_rank(self) -> int:
        """Rank among those on the same host."""

    def average_gradients(self, model: chainer.Link) -> None:
        """Replace each gradient by its mean over the ranks, in a fixed order of summation."""


#: mpi4py communicator, number of nodes that the run was made for -> Communicator
COMMUNICATORS: Dict[str, Callable[[Any, int], Communicator]] = {
    "hierarchical": Hierarchical,
    "two_dimensional": TwoDimensional,
    "single_node": SingleNode,
    "flat": Flat,
    "naive": Naive,
}
