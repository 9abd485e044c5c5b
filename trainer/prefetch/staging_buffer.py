"""Staging buffers: page-locked host memory and as much on the GPU, for one batch at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Tuple

import numpy as np

if TYPE_CHECKING:
    from trainer.gpu.gpu import Gpu

#: Parts of a buffer begin where a GPU likes arrays to begin, as those of cudaMalloc do.
ALIGNMENT = 256


class StagingLayout(NamedTuple):
    """A batch in one buffer of bytes, so that it travels in one copy: pixels, views, labels."""

    samples: int
    insize: int

    @property
    def _ends(self) -> Tuple[int, int, int]:
        pixels = 3 * self.insize**2 * self.samples
        views = -(-pixels // ALIGNMENT) * ALIGNMENT + 12 * self.samples
        return pixels, views, views + 4 * self.samples

    @property
    def size(self) -> int:
        """In bytes."""
        return self._ends[2]

    def pixels(self, buffer: Any) -> Any:
        """uint8 (n, 3, insize, insize) in ``buffer``, NumPy's or CuPy's bytes."""
        return buffer[: self._ends[0]].reshape(self.samples, 3, self.insize, self.insize)

    def views(self, buffer: Any) -> Any:
        """int32 (n, 3): see trainer.augment.choose_views."""
        end = self._ends[1]
        return buffer[end - 12 * self.samples : end].view(np.int32).reshape(self.samples, 3)

    def labels(self, buffer: Any) -> Any:
        """int32 (n,)"""
        return buffer[self._ends[1] : self.size].view(np.int32)


class StagingBuffer:
    """The two buffers, and the two events that say when each may be written again.

    The memory is page-locked when it is allocated, and loaders' batches are copied into it. To lock
    the loaders' own memory (cudaHostRegister) would save that copy; but whether it can be locked, a
    file without a name that is mapped by several processes, is a matter of driver, kernel and
    container, only one of the three iterators has such memory, and a slot of it would be taken
    until the GPU has read it. The copy is made of bytes, a quarter of a float32 batch, by a thread
    that holds no interpreter lock while it copies.
    """

    def __init__(self, gpu: Gpu, size: int) -> None:
        cuda = gpu.cupy.cuda
        self.host = np.frombuffer(cuda.alloc_pinned_memory(size), np.uint8, size)
        self.device = gpu.cupy.empty(size, np.uint8)
        #: The GPU has read ``host`` and written ``device``. Who waits for it sleeps.
        self.copied = cuda.Event(block=True, disable_timing=True)
        #: What read ``device`` is done. At first: whoever had this memory before, for CuPy hands
        #: memory out again while kernels that use it still wait in the stream of its last owner.
        self.used = cuda.Event(disable_timing=True)
        self.used.record(gpu.stream)
