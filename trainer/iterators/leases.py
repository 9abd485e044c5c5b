"""Slots of memory for batches: one is used again when the batch that was in it is gone.

Fresh memory for each batch would cost more than to fill it: the kernel clears it page by page.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Deque, Dict, List, NamedTuple, Protocol, Tuple

import numpy as np
import numpy.typing as npt


class Region(NamedTuple):
    """A piece of a memory, in bytes."""

    start: int
    size: int


class Form(NamedTuple):
    """Shape and dtype of an array, the latter as a text like ``|u1``."""

    shape: Tuple[int, ...]
    dtype: str

    @property
    def size(self) -> int:
        """In bytes."""
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize


class Memory(Protocol):
    def grow(self, size: int) -> Region:
        """A new slot of at least ``size`` bytes."""

    def bytes_of(self, slot: Region) -> npt.NDArray[np.uint8]:
        """The slot, uint8 (its size,)."""


class PrivateMemory:
    """Memory of this process alone, in large pages where the kernel has them (NumPy asks it)."""

    def __init__(self) -> None:
        self._slots: Dict[Region, npt.NDArray[np.uint8]] = {}

    def grow(self, size: int) -> Region:
        slot = Region(sum(known.size for known in self._slots), size)
        self._slots[slot] = np.empty(size, np.uint8)
        return slot

    def bytes_of(self, slot: Region) -> npt.NDArray[np.uint8]:
        return self._slots[slot]


def array_in(content: npt.NDArray[np.uint8], form: Form) -> npt.NDArray[Any]:
    """The array of this form at the beginning of a slot's bytes."""
    return content[: form.size].view(form.dtype).reshape(form.shape)


class _Lease:
    """What an array in a slot rests on: the slot is free again when no array does any more.

    NumPy keeps the object that offers it memory by ``__array_interface__`` alive with the array
    and with every view of it.
    """

    def __init__(self, slot: Region, content: npt.NDArray[np.uint8], back: Deque[Region]) -> None:
        self._slot = slot
        self._back = back
        self._content = content  # the mapping stays as long as an array in it
        self.__array_interface__ = content.__array_interface__

    def __del__(self) -> None:
        self._back.append(self._slot)


class Leases:
    """Slots for batches: one is used again when the batch that was in it is gone.

    For one thread; arrays may be dropped in any other.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._free: List[Region] = []
        self._back: Deque[Region] = deque()

    def lend(self, form: Form) -> Tuple[Region, npt.NDArray[Any]]:
        """A slot and the array of this form at its beginning, its contents undefined."""
        size = form.size
        while self._back:
            self._free.append(self._back.popleft())
        fitting = [slot for slot in self._free if slot.size >= size]
        if fitting:
            slot = min(fitting, key=lambda slot: slot.size)
            self._free.remove(slot)
        else:
            slot = self._memory.grow(size)
        whole = np.asarray(_Lease(slot, self._memory.bytes_of(slot), self._back))
        return slot, array_in(whole, form)
