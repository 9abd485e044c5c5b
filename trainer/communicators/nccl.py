"""Sums on GPUs by NCCL, in NCCL's own order (docs/determinism.md)."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Iterator

from trainer.communicators.packed import Buffer
from trainer.gpu.gpu import Gpu
from trainer.trouble import TrainerError


class Nccl:
    """:class:`trainer.communicators.inside.Inside` for float32 buffers of CuPy, and ``all_reduce``.

    All operations work in place and are put into the current stream: behind the kernels that fill
    the buffer, before those that read it. So nothing waits here; who leaves the stream, as
    :class:`trainer.communicators.host_sum.HostSum` does, waits there.
    """

    def __init__(self, mpi: Any, gpu: Gpu) -> None:
        """Collective over ``mpi``; each rank must have chosen its GPU, and another than the others.

        Raises TrainerError when NCCL cannot connect the GPUs.
        """
        self._gpu = gpu
        self._ranks: int = mpi.Get_size()
        self._rank: int = mpi.Get_rank()
        # NCCL's first rank makes up a name, by which the others find it; MPI tells it to them.
        name = mpi.bcast(gpu.nccl.get_unique_id() if self._rank == 0 else None, root=0)
        try:
            self._group = gpu.nccl.NcclCommunicator(self._ranks, name, self._rank)
        except gpu.nccl.NcclError as error:
            raise TrainerError(
                f"NCCL cannot connect the GPUs of {self._ranks} ranks: {error}",
                "start one rank per GPU; logs/nccl-*.log in the run directory say more",
            ) from error

    @property
    def unit(self) -> int:
        """NCCL cuts a buffer into equal pieces."""
        return self._ranks

    def reduce(self, buffer: Buffer) -> None:
        place = pointer(buffer)
        self._group.reduce(place, place, buffer.size, *self._sum, 0, self._stream)

    def broadcast(self, buffer: Buffer) -> None:
        place = pointer(buffer)
        self._group.broadcast(place, place, buffer.size, self._float, 0, self._stream)

    def reduce_scatter(self, buffer: Buffer) -> Buffer:
        piece = self._piece_of(buffer)
        self._group.reduceScatter(
            pointer(buffer), pointer(piece), piece.size, *self._sum, self._stream
        )
        return piece

    def all_gather(self, piece: Buffer, buffer: Buffer) -> None:
        self._group.allGather(
            pointer(piece), pointer(buffer), piece.size, self._float, self._stream
        )

    def all_reduce(self, buffer: Buffer) -> None:
        place = pointer(buffer)
        self._group.allReduce(place, place, buffer.size, *self._sum, self._stream)

    @contextmanager
    def group(self) -> Iterator[None]:
        """What is sent and received inside goes at once: else both sides could wait in turn."""
        self._gpu.nccl.groupStart()
        yield
        self._gpu.nccl.groupEnd()

    def send(self, buffer: Buffer, peer: int) -> None:
        self._group.send(pointer(buffer), buffer.size, self._float, peer, self._stream)

    def receive(self, buffer: Buffer, peer: int) -> None:
        self._group.recv(pointer(buffer), buffer.size, self._float, peer, self._stream)

    def _piece_of(self, buffer: Buffer) -> Buffer:
        """Where NCCL puts a rank's piece when it works in place."""
        length = buffer.size // self._ranks
        return buffer[self._rank * length : (self._rank + 1) * length]

    @property
    def _float(self) -> Any:
        return self._gpu.nccl.NCCL_FLOAT32

    @property
    def _sum(self) -> tuple[Any, Any]:
        return self._gpu.nccl.NCCL_FLOAT32, self._gpu.nccl.NCCL_SUM

    @property
    def _stream(self) -> int:
        return int(self._gpu.stream.ptr)


def pointer(buffer: Any) -> int:
    return int(buffer.data.ptr)
