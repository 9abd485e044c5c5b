"""MPI_Allreduce over float32 buffers; MPI is given host memory only."""

from __future__ import annotations

from typing import Any, Optional

import numpy as np

from trainer.communicators.packed import Buffer
from trainer.gpu.gpu import Gpu


class HostSum:
    """Sums in MPI's order: recursive doubling, as the run's ``--mca`` parameters say.

    GPU buffers take the way through pinned host memory, also where MPI is CUDA-aware. The ``coll``
    components that the run allows cannot add in GPU memory; Open MPI's own component for it,
    coll/cuda, adds in host memory too (mca_coll_cuda_allreduce), which it does not even pin.
    """

    def __init__(self, mpi: Any, gpu: Optional[Gpu] = None) -> None:
        self._mpi = mpi
        self._gpu = gpu
        self._pinned: Buffer = np.empty(0, np.float32)

    def __call__(self, buffer: Buffer) -> None:
        """Replace ``buffer``, on every rank, by the sum of all ranks'. One dimension."""
        if self._mpi.Get_size() == 1:
            return
        if self._gpu is None:
            self._add(buffer)
        else:
            self._add_through_host(buffer, self._gpu)

    def _add(self, buffer: Buffer) -> None:
        from mpi4py import MPI

        self._mpi.Allreduce(MPI.IN_PLACE, [buffer, MPI.FLOAT], op=MPI.SUM)

    def _add_through_host(self, buffer: Any, gpu: Gpu) -> None:
        host = self._pinned_memory(buffer.size, gpu)
        stream = gpu.stream
        buffer.get(stream=stream, out=host, blocking=False)
        # MPI knows no streams: the sums of NCCL and the copy must be done before it reads.
        stream.synchronize()
        self._add(host)
        # Nobody waits for the way back: what reads the buffer comes later on this stream, and so
        # does the next copy into this host memory.
        buffer.set(host, stream=stream)

    def _pinned_memory(self, size: int, gpu: Gpu) -> Buffer:
        if self._pinned.size < size:
            memory = gpu.cupy.cuda.alloc_pinned_memory(4 * size)
            self._pinned = np.frombuffer(memory, np.float32, size)
        return self._pinned[:size]
