"""How processes give each other pieces of their buffers: bytes are moved here, nothing is added."""

from __future__ import annotations

from typing import Any, List, Optional, Protocol, Sequence

import numpy as np

from trainer.communicators.nccl import Nccl
from trainer.communicators.packed import Buffer
from trainer.communicators.pieces import bounds
from trainer.gpu.gpu import Gpu


class Exchange(Protocol):
    """Every method is collective over the processes; process p works on piece p of a buffer, cut
    by :func:`trainer.communicators.pieces.bounds`."""

    def piece(self, buffer: Buffer) -> Buffer:
        """This process's piece of a buffer, a view."""

    def scatter(self, buffer: Optional[Buffer], size: int, given: int) -> Sequence[Buffer]:
        """The first ``given`` processes give a buffer of so many elements, the others None. Return
        this process's piece of each, by process; valid until the next call."""

    def gather(self, buffer: Buffer) -> None:
        """Put the pieces that the processes have in their own buffers together in all buffers."""


def make_exchange(mpi: Any, gpu: Optional[Gpu] = None) -> Exchange:
    """Collective. Between GPUs by NCCL, else by MPI; a single process moves nothing."""
    if mpi.Get_size() == 1:
        return Alone()
    return ByMpi(mpi) if gpu is None else ByNccl(mpi, gpu)


class Alone:
    """One process."""

    def piece(self, buffer: Buffer) -> Buffer:
        return buffer

    def scatter(self, buffer: Optional[Buffer], size: int, given: int) -> Sequence[Buffer]:
        assert buffer is not None and given == 1
        return [buffer]

    def gather(self, buffer: Buffer) -> None:
        pass


class ByMpi:
    """Buffers in host memory."""

    def __init__(self, mpi: Any) -> None:
        self._mpi = mpi.Dup()
        self._processes: int = mpi.Get_size()
        self._own: int = mpi.Get_rank()
        self._arrived: Buffer = np.empty(0, np.float32)

    def piece(self, buffer: Buffer) -> Buffer:
        return buffer[part(buffer.size, self._processes, self._own)]

    def scatter(self, buffer: Optional[Buffer], size: int, given: int) -> Sequence[Buffer]:
        from mpi4py import MPI

        rows = self._rows(size)
        pending = [
            self._mpi.Irecv([rows[peer], MPI.FLOAT], source=peer)
            for peer in self._peers()
            if peer < given
        ]
        if buffer is not None:
            rows[self._own] = self.piece(buffer)
            pending += [
                self._mpi.Isend([buffer[part(size, self._processes, peer)], MPI.FLOAT], dest=peer)
                for peer in self._peers()
            ]
        MPI.Request.Waitall(pending)
        return rows[:given]

    def gather(self, buffer: Buffer) -> None:
        from mpi4py import MPI

        own = self.piece(buffer)
        parts = {peer: buffer[part(buffer.size, self._processes, peer)] for peer in self._peers()}
        pending = [self._mpi.Irecv([x, MPI.FLOAT], source=peer) for peer, x in parts.items()]
        pending += [self._mpi.Isend([own, MPI.FLOAT], dest=peer) for peer in parts]
        MPI.Request.Waitall(pending)

    def _peers(self) -> List[int]:
        """The others, the next one first: so not all begin with the same."""
        return [(self._own + k) % self._processes for k in range(1, self._processes)]

    def _rows(self, size: int) -> List[Buffer]:
        """Memory for this process's piece of every other process's buffer."""
        span = part(size, self._processes, self._own)
        length = span.stop - span.start
        if self._arrived.size < length * self._processes:
            self._arrived = np.empty(length * self._processes, np.float32)
        return [self._arrived[k * length : (k + 1) * length] for k in range(self._processes)]


class ByNccl:
    """Buffers in the memory of GPUs; operations go into the current stream, nothing waits here."""

    def __init__(self, mpi: Any, gpu: Gpu) -> None:
        self._gpu = gpu
        self._nccl = Nccl(mpi, gpu)
        self._processes: int = mpi.Get_size()
        self._own: int = mpi.Get_rank()
        self._arrived: Any = gpu.cupy.zeros(0, np.float32)

    def piece(self, buffer: Buffer) -> Buffer:
        return buffer[part(buffer.size, self._processes, self._own)]

    def scatter(self, buffer: Optional[Buffer], size: int, given: int) -> Sequence[Buffer]:
        rows = self._rows(size)
        with self._nccl.group():
            for peer in range(self._processes):
                if peer == self._own:
                    continue
                if buffer is not None:
                    self._nccl.send(buffer[part(size, self._processes, peer)], peer)
                if peer < given:
                    self._nccl.receive(rows[peer], peer)
        if buffer is not None:
            rows[self._own] = self.piece(buffer)
        return rows[:given]

    def gather(self, buffer: Buffer) -> None:
        own = self.piece(buffer)
        with self._nccl.group():
            for peer in range(self._processes):
                if peer != self._own:
                    self._nccl.send(own, peer)
                    self._nccl.receive(buffer[part(buffer.size, self._processes, peer)], peer)

    def _rows(self, size: int) -> List[Buffer]:
        span = part(size, self._processes, self._own)
        length = span.stop - span.start
        if self._arrived.size < length * self._processes:
            self._arrived = self._gpu.cupy.zeros(length * self._processes, np.float32)
        return [self._arrived[k * length : (k + 1) * length] for k in range(self._processes)]


def part(size: int, pieces: int, number: int) -> slice:
    """Where piece ``number`` of a buffer lies."""
    edges = bounds(size, pieces)
    return slice(edges[number], edges[number + 1])
