"""A fake of CuPy and NCCL for communicators: host memory stands in for that of GPUs.

What a GPU does later happens later here too: kernels, copies and NCCL's operations wait in the
stream until somebody synchronises it, so a missing wait gives old values. NumPy and MPI cannot
read a fake device array. NCCL's sums are in *reverse* rank order, which no MPI scheme here has, and
what NCCL leaves undefined is overwritten with NaN.
"""

from __future__ import annotations

import ctypes
from types import SimpleNamespace
from typing import Any, Callable, List

import numpy as np

from trainer.gpu.gpu import Gpu


class Stream:
    ptr = 4711

    def __init__(self) -> None:
        self._waiting: List[Callable[[], None]] = []
        #: Names of what left the node's GPUs or was given to NCCL, in order.
        self.log: List[str] = []

    def later(self, work: Callable[[], None], name: str = "") -> None:
        self._waiting.append(work)
        if name:
            self.log.append(name)

    def synchronize(self) -> None:
        waiting, self._waiting = self._waiting, []
        for work in waiting:
            work()


STREAM = Stream()


class DeviceArray:
    """float32, C order; the part of cupy.ndarray that communicators use."""

    def __init__(self, memory: Any) -> None:
        assert memory.dtype == np.float32 and memory.flags.c_contiguous
        self._memory = memory

    @property
    def size(self) -> int:
        return int(self._memory.size)

    @property
    def shape(self) -> Any:
        return self._memory.shape

    @property
    def data(self) -> Any:
        return SimpleNamespace(ptr=self._memory.ctypes.data)

    def ravel(self) -> DeviceArray:
        return DeviceArray(self._memory.reshape(-1))

    def reshape(self, shape: Any) -> DeviceArray:
        return DeviceArray(self._memory.reshape(shape))

    def __getitem__(self, part: slice) -> DeviceArray:
        return DeviceArray(self._memory[part])

    def __setitem__(self, part: Any, value: DeviceArray) -> None:
        target, source = self._memory[part], value._memory
        STREAM.later(lambda: np.copyto(target, source))

    def copy(self) -> DeviceArray:
        """Memory of its own, which the stream fills."""
        memory = np.full_like(self._memory, np.nan)
        made = DeviceArray(memory)
        made[...] = self
        return made

    def __iadd__(self, other: DeviceArray) -> DeviceArray:
        memory, added = self._memory, other._memory
        STREAM.later(lambda: np.copyto(memory, memory + added))
        return self

    def __imul__(self, factor: np.float32) -> DeviceArray:
        assert isinstance(factor, np.float32)
        memory = self._memory
        STREAM.later(lambda: np.copyto(memory, memory * factor))
        return self

    def get(self, stream: Stream, out: Any, blocking: bool = True) -> Any:
        assert out.shape == self.shape
        memory = self._memory
        stream.later(lambda: np.copyto(out, memory), "to host")
        if blocking:
            stream.synchronize()
        return out

    def set(self, arr: Any, stream: Stream) -> None:
        memory = self._memory
        stream.later(lambda: np.copyto(memory, arr), "to device")


class NcclError(RuntimeError):
    pass


class NcclCommunicator:
    """As CuPy's; ranks are those of MPI_COMM_WORLD that were given the same name."""

    refuse = False

    def __init__(self, ndev: int, commId: tuple[int, ...], rank: int) -> None:
        from mpi4py import MPI

        if self.refuse:
            raise NcclError("NCCL_ERROR_INVALID_USAGE: invalid usage")
        self._mpi = MPI.COMM_WORLD.Split(color=commId[0], key=rank)
        assert (self._mpi.Get_size(), self._mpi.Get_rank()) == (ndev, rank)
        self._rank = rank

    def _later(self, name: str, stream: int, work: Callable[[], None]) -> None:
        assert stream == STREAM.ptr
        STREAM.later(work, name)

    def _sum(self, place: int, count: int) -> Any:
        total, *others = reversed(self._mpi.allgather(memory_at(place, count).copy()))
        for other in others:
            total += other
        return total

    def allReduce(
        self, sendbuf: int, recvbuf: int, count: int, datatype: int, op: int, stream: int
    ) -> None:
        assert (datatype, op) == (FLOAT32, SUM)

        def work() -> None:
            memory_at(recvbuf, count)[...] = self._sum(sendbuf, count)

        self._later("allReduce", stream, work)

    def reduce(
        self, sendbuf: int, recvbuf: int, count: int, datatype: int, op: int, root: int, stream: int
    ) -> None:
        assert (datatype, op) == (FLOAT32, SUM)

        def work() -> None:
            total = self._sum(sendbuf, count)
            memory_at(recvbuf, count)[...] = total if self._rank == root else np.nan

        self._later("reduce", stream, work)

    def broadcast(
        self, sendbuff: int, recvbuff: int, count: int, datatype: int, root: int, stream: int
    ) -> None:
        assert datatype == FLOAT32

        def work() -> None:
            sent = self._mpi.bcast(memory_at(sendbuff, count).copy(), root=root)
            memory_at(recvbuff, count)[...] = sent

        self._later("broadcast", stream, work)

    def reduceScatter(
        self, sendbuf: int, recvbuf: int, recvcount: int, datatype: int, op: int, stream: int
    ) -> None:
        assert (datatype, op) == (FLOAT32, SUM)
        assert recvbuf == sendbuf + 4 * recvcount * self._rank, "works in place"

        def work() -> None:
            whole = memory_at(sendbuf, recvcount * self._mpi.Get_size())
            total = self._sum(sendbuf, whole.size)
            whole[...] = np.nan
            mine = slice(recvcount * self._rank, recvcount * (self._rank + 1))
            whole[mine] = total[mine]

        self._later("reduceScatter", stream, work)

    def allGather(self, sendbuf: int, recvbuf: int, count: int, datatype: int, stream: int) -> None:
        assert datatype == FLOAT32

        def work() -> None:
            pieces = self._mpi.allgather(memory_at(sendbuf, count).copy())
            memory_at(recvbuf, count * len(pieces))[...] = np.concatenate(pieces)

        self._later("allGather", stream, work)

    def send(self, sendbuf: int, count: int, datatype: int, peer: int, stream: int) -> None:
        assert (datatype, stream) == (FLOAT32, STREAM.ptr)
        GROUP[-1].append(lambda: self._mpi.Isend(memory_at(sendbuf, count), dest=peer))

    def recv(self, recvbuf: int, count: int, datatype: int, peer: int, stream: int) -> None:
        assert (datatype, stream) == (FLOAT32, STREAM.ptr)
        GROUP[-1].append(lambda: self._mpi.Irecv(memory_at(recvbuf, count), source=peer))


#: What is sent and received between the two calls, begun together.
GROUP: List[List[Callable[[], Any]]] = []


def groupStart() -> None:
    GROUP.append([])


def groupEnd() -> None:
    begun = GROUP.pop()

    def work() -> None:
        from mpi4py import MPI

        MPI.Request.Waitall([begin() for begin in begun])

    STREAM.later(work, "group")


def memory_at(address: int, count: int) -> Any:
    return np.ctypeslib.as_array((ctypes.c_float * count).from_address(address))


def get_unique_id() -> tuple[int, ...]:
    from mpi4py import MPI

    return (MPI.COMM_WORLD.Get_rank(),)


FLOAT32, SUM = 70, 80


def fake_gpu() -> Gpu:
    return Gpu(
        cupy=SimpleNamespace(
            zeros=lambda size, dtype: DeviceArray(np.zeros(size, dtype)),
            cuda=SimpleNamespace(
                alloc_pinned_memory=bytearray,
                get_current_stream=lambda: STREAM,
            ),
        ),
        nccl=SimpleNamespace(
            NCCL_FLOAT32=FLOAT32,
            NCCL_SUM=SUM,
            NcclCommunicator=NcclCommunicator,
            NcclError=NcclError,
            get_unique_id=get_unique_id,
            groupStart=groupStart,
            groupEnd=groupEnd,
        ),
    )
