"""Orders of summation over ranks, and sums that follow them as values come in, rank by rank.

Every order of this project adds the ranks of a block one after another, and the blocks' sums by the
tree of recursive doubling: blocks beyond the largest power of two join their left neighbour first
(Thakur, Rabenseifner, Gropp 2005, "Optimization of collective communication operations in MPICH",
section 4.4), then pairs are added, pairs of pairs, and so on. Blocks of one rank give the tree over
ranks, one block of all ranks gives rank order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Dict, List, Tuple

from trainer.communicators.packed import Buffer


@dataclass(frozen=True)
class SumOrder:
    """``block`` consecutive ranks are added first, one after another; it divides ``ranks``."""

    ranks: int
    block: int = 1

    @property
    def blocks(self) -> int:
        return self.ranks // self.block

    @property
    def depth(self) -> int:
        """The largest number of sums that wait for others at the same time."""
        return max(1, self.blocks.bit_length() - 1 + (self.block > 1))


#: Communicator -> (ranks, nodes) -> order, as far as it is this project's own and not NCCL's.
ORDERS: Dict[str, Callable[[int, int], SumOrder]] = {
    "naive": lambda ranks, nodes: SumOrder(ranks),
    "flat": lambda ranks, nodes: SumOrder(ranks),
    "ordered": lambda ranks, nodes: SumOrder(ranks),
    "hierarchical": lambda ranks, nodes: SumOrder(ranks, ranks // nodes),
    "two_dimensional": lambda ranks, nodes: SumOrder(ranks, ranks // nodes),
    "single_node": lambda ranks, nodes: SumOrder(ranks, ranks),
}


class TreeSum:
    """The sum of one value per rank, given in rank order; elementwise, float32.

    Values may be NumPy's or CuPy's. Memory for sums that wait is kept from one sum to the next.
    There is no recursion: a run may have more ranks than Python has stack frames.
    """

    def __init__(self, order: SumOrder) -> None:
        self._order = order
        self._free: List[Buffer] = []
        self._begin()

    def _begin(self) -> None:
        self._given = 0
        self._leaves = 0
        #: Sums that wait for their right neighbours: (height in the tree, sum), heights falling.
        self._waiting: List[Tuple[int, Buffer]] = []
        #: The sum of the block, or of the pair of blocks, that is not complete.
        self._partial: List[Buffer] = []

    def add(self, value: Buffer) -> None:
        """The value of the next rank. It is read, and not kept."""
        order = self._order
        in_block = self._given % order.block
        self._given += 1
        if in_block:
            add_to(self._partial[-1], value)
        elif order.block == 1 and self._merges_at_once():
            # No copy: the value goes into the sum that waits for it.
            self._join(value)
            return
        else:
            self._partial.append(self._copy(value))
        if in_block == order.block - 1:
            self._close_block()

    def total(self) -> Buffer:
        """The sum of all ranks; valid until :meth:`add` is called again, which begins anew."""
        assert self._given == self._order.ranks, "one value for each rank"
        ((_, total),) = self._waiting
        self._begin()
        self._free.append(total)
        return total

    @property
    def _extra(self) -> int:
        """So many leaves of the tree are pairs of blocks."""
        blocks: int = self._order.blocks
        return blocks - (1 << (blocks.bit_length() - 1))

    def _merges_at_once(self) -> bool:
        """Whether a block of one rank is added to what is there before anything else comes."""
        if self._partial:
            return True
        single = self._leaves >= self._extra
        return single and bool(self._waiting) and self._waiting[-1][0] == 0

    def _join(self, value: Buffer) -> None:
        if self._partial:
            add_to(self._partial[-1], value)
            self._push(self._partial.pop())
        else:
            self._push(value, borrowed=True)

    def _close_block(self) -> None:
        """The block that was added up last becomes a leaf, or one half of one."""
        if self._leaves < self._extra:
            if len(self._partial) == 1:
                return  # its right neighbour joins it first
            right = self._partial.pop()
            add_to(self._partial[-1], right)
            self._free.append(right)
        self._push(self._partial.pop())

    def _push(self, leaf: Buffer, borrowed: bool = False) -> None:
        self._leaves += 1
        height, right = 0, leaf
        while self._waiting and self._waiting[-1][0] == height:
            _, left = self._waiting.pop()
            add_to(left, right)
            if not borrowed:
                self._free.append(right)
            height, right, borrowed = height + 1, left, False
        self._waiting.append((height, right))

    def _copy(self, value: Buffer) -> Buffer:
        for number, buffer in enumerate(self._free):
            if buffer.size == value.size:
                del self._free[number]
                buffer[...] = value
                return buffer
        self._free.clear()
        return value.copy()


def add_to(left: Buffer, right: Buffer) -> None:
    """left + right -> left, each element rounded once, by NumPy or by a kernel of CuPy's."""
    left += right
