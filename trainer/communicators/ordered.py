"""``ordered``: the tree of ``flat`` over ranks, added here; MPI or NCCL only move bytes.

Each process adds one piece of everyone's buffer (reduce-scatter and allgather, as in Thakur,
Rabenseifner, Gropp 2005, section 4.5, with the additions in a fixed order). So the bits do not
depend on an MPI library's or NCCL's algorithm, on the wiring, or on the number of processes: this
class also does the sums of every other communicator whose order is known, where processes compute
more than one rank each.
"""

from __future__ import annotations

from typing import Any, List, NamedTuple, Optional, Sequence

import chainer
import numpy as np

from trainer.communicators.exchange import Exchange, make_exchange
from trainer.communicators.nodes import node_communicator
from trainer.communicators.packed import Buffer, PackedGradients
from trainer.communicators.summation import ORDERS, SumOrder, TreeSum
from trainer.gpu.gpu import Gpu

#: Above so many processes pieces are exchanged within groups first: one level would need a message
#: from each process to each other.
ONE_LEVEL = 64

#: Elements that are added at a time where all values are there: they stay in a core's cache.
CHUNK = 1 << 14


class Level(NamedTuple):
    """Processes that exchange pieces, and the order in which their values are added."""

    exchange: Exchange
    order: SumOrder


class TreeReduction:
    """Sums over ``order.ranks`` ranks, computed by the processes of ``mpi`` in turn: process p has
    the ranks p, p + P, p + 2P and so on.

    :meth:`add` is called once for each rank of a process, :meth:`finish` once by every process.
    Memory besides the gradients, n elements of them: with one process n for the packed buffer and
    n for each sum that waits (``order.depth``); with P processes n, n for pieces that arrive, and
    n / P for each sum that waits.
    """

    def __init__(
        self, mpi: Any, order: SumOrder, gpu: Optional[Gpu] = None, one_level: int = ONE_LEVEL
    ) -> None:
        """Collective. ``one_level``: above so many processes there are two levels."""
        self.local_rank: int = node_communicator(mpi).Get_rank()
        self._process: int = mpi.Get_rank()
        self._processes: int = mpi.Get_size()
        self._order = order
        self._packed = PackedGradients(order.ranks, gpu)
        self._levels = make_levels(mpi, order, gpu, one_level)
        self._tree = TreeSum(order)
        self._round = 0

    def average_gradients(self, model: chainer.Link) -> None:
        """Where each process has one rank."""
        self.add(model)
        self.finish(model)

    def add(self, model: chainer.Link) -> None:
        """Take the gradients of this process's next rank."""
        buffer = self._packed.pack(model)
        if self._rounds > 1:
            self._exchange(buffer, buffer.size)

    def finish(self, model: chainer.Link) -> None:
        """Replace the gradients of each process by the mean of all ranks."""
        buffer = self._packed.buffer(model)
        if self._rounds == 1:
            reduce_by_levels(buffer, self._levels)
        else:
            if self._round < self._rounds:  # this process has a rank less than others
                self._exchange(None, buffer.size)
            self._round = 0
            exchange = self._levels[0].exchange
            exchange.piece(buffer)[...] = self._tree.total()
            exchange.gather(buffer)
        self._packed.unpack_mean(model)

    @property
    def _rounds(self) -> int:
        """A round is one rank of each process; the last one may lack some."""
        return -(-self._order.ranks // self._processes)

    def _exchange(self, buffer: Optional[Buffer], size: int) -> None:
        given = min(self._processes, self._order.ranks - self._round * self._processes)
        self._round += 1
        for row in self._levels[0].exchange.scatter(buffer, size, given):
            self._tree.add(row)


class Ordered(TreeReduction):
    """The communicator of this name, one process for each rank."""

    def __init__(self, mpi: Any, nodes: int, gpu: Optional[Gpu] = None) -> None:
        super().__init__(mpi, ORDERS["ordered"](mpi.Get_size(), nodes), gpu)


def make_levels(mpi: Any, order: SumOrder, gpu: Optional[Gpu], one_level: int) -> List[Level]:
    """One level, or two: within groups of processes that share a node, and between the groups.

    Aligned groups of 2^k ranks are complete subtrees of the tree over ranks, and the groups' sums
    are added by the same tree: so the levels change no bit. Two only where each process has one
    rank and nodes hold a multiple of two.
    """
    processes, rank = mpi.Get_size(), mpi.Get_rank()
    size = 1
    if processes > one_level and order == SumOrder(processes):
        size = group_size(mpi.allgather(node_communicator(mpi).bcast(rank, root=0)))
    if size in (1, processes):
        return [Level(make_exchange(mpi, gpu), order)]
    inside = mpi.Split(color=rank // size, key=rank)
    across = mpi.Split(color=rank % size, key=rank)
    return [
        Level(make_exchange(inside, gpu), SumOrder(size)),
        Level(make_exchange(across, gpu), SumOrder(processes // size)),
    ]


def group_size(first_of_node: Sequence[int]) -> int:
    """The largest 2^k such that aligned blocks of so many processes never span two nodes.

    ``first_of_node`` holds, by process, the first one on the same node.
    """
    size = 1
    while len(first_of_node) % (2 * size) == 0 and all(
        len(set(first_of_node[k : k + 2 * size])) == 1
        for k in range(0, len(first_of_node), 2 * size)
    ):
        size *= 2
    return size


def reduce_by_levels(buffer: Buffer, levels: Sequence[Level]) -> None:
    """Replace every process's buffer by the sum of all."""
    pieces = [buffer]
    for exchange, order in levels:
        whole = pieces[-1]
        own = exchange.piece(whole)
        fold(exchange.scatter(whole, whole.size, order.ranks), order, out=own)
        pieces.append(own)
    for (exchange, _), whole in zip(reversed(levels), reversed(pieces[:-1])):
        exchange.gather(whole)


def fold(rows: Sequence[Buffer], order: SumOrder, out: Buffer) -> None:
    """The sum of all rows, one per rank, into ``out``, which may be one of them."""
    size = out.size
    # On a GPU a chunk is a launch of a kernel: all at once there.
    step = CHUNK if isinstance(out, np.ndarray) else max(1, size)
    tree = TreeSum(order)
    for start in range(0, size, step):
        chunk = slice(start, start + step)
        for row in rows:
            tree.add(row[chunk])
        out[chunk] = tree.total()
