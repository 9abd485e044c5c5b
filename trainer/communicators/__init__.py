"""How gradients are averaged over the ranks, by the name of the key ``communicator``."""

from __future__ import annotations

from typing import Any, Callable, Dict, Protocol

import chainer

from trainer.communicators.naive import Naive


class Communicator(Protocol):
    @property
    def local_rank(self) -> int:
        """Rank among those on the same host."""

    def average_gradients(self, model: chainer.Link) -> None:
        """Replace each gradient by its mean over the ranks, in a fixed order of summation."""


#: mpi4py communicator -> Communicator
COMMUNICATORS: Dict[str, Callable[[Any], Communicator]] = {"naive": Naive}
