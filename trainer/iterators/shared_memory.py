"""Memory that a rank and its loader processes share: a batch is made where it is used.

It is a file without a name (memfd_create(2)), so nothing is left in ``/dev/shm`` whoever is
killed, and the size of ``/dev/shm`` does not limit it. The kernel frees it with its last user.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from multiprocessing import reduction
from typing import Any, Dict, Tuple

import numpy as np
import numpy.typing as npt

from trainer.iterators.leases import Region


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
        """A new slot of at least ``size`` bytes, in whole pages, at the end of the file."""
        start = os.fstat(self._descriptor).st_size
        slot = Region(start, -(-size // mmap.PAGESIZE) * mmap.PAGESIZE)
        os.ftruncate(self._descriptor, start + slot.size)
        return slot

    def bytes_of(self, slot: Region) -> npt.NDArray[np.uint8]:
        if slot not in self._mapped:
            self._mapped[slot] = mmap.mmap(self._descriptor, slot.size, offset=slot.start)
        return np.frombuffer(self._mapped[slot], dtype=np.uint8)


def _received(descriptor: Any) -> SharedMemory:
    return SharedMemory(descriptor.detach())
