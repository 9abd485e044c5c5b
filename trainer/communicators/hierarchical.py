"""``hierarchical``: inside the node to its first rank, between first ranks, back inside the node.

The two-level scheme of ChainerMN (Akiba, Fukuda, Suzuki 2017, arXiv:1710.11351), which Chainer 7
has no more. Only one rank of each node speaks to other nodes.
"""

from __future__ import annotations

from trainer.communicators.packed import Buffer
from trainer.communicators.two_level import TwoLevel


class Hierarchical(TwoLevel):
    name = "hierarchical"

    def _add(self, buffer: Buffer) -> None:
        self._inside.reduce(buffer)
        if self.local_rank == 0:
            self._across(buffer)
        self._inside.broadcast(buffer)
