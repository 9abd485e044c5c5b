"""Memory that a rank and its loader processes share: a batch is made where it is used.

It is a file without a name (memfd_create(2)), so nothing is left in ``/dev/shm`` whoever is
killed, and the size of ``/dev/shm`` does not limit it. The kernel frees it with its last user.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections import deque
from multiprocessing import reduction
from typing import Any, Deque, Dict, List, NamedTuple, Tuple

import numpy as np
import numpy.typing as npt


class Region(NamedTuple):
    """A piece of the file, in bytes; whole pages."""

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


def _nameless_file() -> int:
    try:
        return os.memfd_create("bundle-batches")
    except OSError:  # Linux before 3.17
        with tempfile.TemporaryFile(dir="/dev/shm") as stream:
            return os.dup(stream.fileno())


class SharedMemory:
    """The file and the pieces of it that this process has mapped.

    It can be given to a process that is being started by multiprocessing, and to no other.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._mapped: Dict[Region, mmap.mmap] = {}

    @classmethod
    def make(cls) -> SharedMemory:
        return cls(_nameless_file())

    def __reduce__(self) -> Tuple[Any, ...]:
        return _received, (reduction.DupFd(self._descriptor),)

    def grow(self, size: int) -> Region:
        """A new slot of at least ``size`` bytes at the end of the file."""
        start = os.fstat(self._descriptor).st_size
        slot = Region(start, -(-size // mmap.PAGESIZE) * mmap.PAGESIZE)
        os.ftruncate(self._descriptor, start + slot.size)
        return slot

    def bytes_of(self, slot: Region) -> npt.NDArray[np.uint8]:
        if slot not in self._mapped:
            self._mapped[slot] = mmap.mmap(self._descriptor, slot.size, offset=slot.start)
        return np.frombuffer(self._mapped[slot], dtype=np.uint8)


def array_in(content: npt.NDArray[np.uint8], form: Form) -> npt.NDArray[Any]:
    """The array of this form at the beginning of a slot's bytes."""
    return content[: form.size].view(form.dtype).reshape(form.shape)


def _received(descriptor: Any) -> SharedMemory:
    return SharedMemory(descriptor.detach())


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

    def __init__(self, memory: SharedMemory) -> None:
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
