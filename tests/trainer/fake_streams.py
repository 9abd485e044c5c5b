"""A fake of CuPy's streams, events and raw kernels: host memory stands in for that of a GPU.

What a GPU does later happens later here too. The work given to a stream waits in it until somebody
synchronises with it; in an ``eager`` stream it is done as soon as what it has to wait for is done,
even before what others were given earlier. So with a wait left out, the work of one stream finds
the old contents of a buffer, or contents that came too early. Memory that is handed out is set to
zeros later, on the current stream: by the kernels of its last owner, which have not run yet. (Other
garbage would lead a kernel to addresses that are not there.)

Kernels are their own text, run by a C compiler.
"""

from __future__ import annotations

import ctypes
import re
import tempfile
import threading
from collections import deque
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Deque, List, Optional, Sequence, Tuple, Union

import numpy as np

from tests.trainer.kernels import c_library
from tests.trainer.test_update_kernels import C_OPERATIONS
from trainer.optimizers.elementwise import OPERATIONS

_lock = threading.RLock()


class Record:
    """One call of Event.record: done when the stream came to it."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.done = False


class Stream:
    def __init__(self, gpu: FakeGpu, eager: bool) -> None:
        self._gpu = gpu
        self._eager = eager
        self._waiting: Deque[Union[Record, Callable[[], None]]] = deque()
        gpu.streams.append(self)

    def later(self, work: Union[Record, Callable[[], None]]) -> None:
        with _lock:
            self._waiting.append(work)
            self._gpu.go_on()

    def wait_event(self, event: Event) -> None:
        """Later work of this stream comes after the last record of ``event``, if there is one."""
        if event.last is not None:
            self.later(event.last)

    def synchronize(self) -> None:
        with _lock:
            self.come_to(None)

    def go_on(self) -> bool:
        """Do what can be done without waiting; whether there was anything."""
        before = len(self._waiting)
        while self._eager and self._waiting and not self._blocked():
            self._do_one()
        return len(self._waiting) < before

    def come_to(self, record: Optional[Record]) -> None:
        """Do everything, or everything up to ``record``, also what others have to do for it."""
        while self._waiting and not (record and record.done):
            first = self._waiting[0]
            if self._blocked() and isinstance(first, Record):
                first.stream.come_to(first)
            else:
                self._do_one()
        self._gpu.go_on()

    def _blocked(self) -> bool:
        first = self._waiting[0]
        return isinstance(first, Record) and first.stream is not self and not first.done

    def _do_one(self) -> None:
        work = self._waiting.popleft()
        if isinstance(work, Record):
            work.done = True
        else:
            work()


class Event:
    def __init__(self, block: bool = False, disable_timing: bool = False) -> None:
        self.last: Optional[Record] = None

    def record(self, stream: Stream) -> None:
        with _lock:
            self.last = Record(stream)
            stream.later(self.last)

    def synchronize(self) -> None:
        with _lock:
            if self.last is not None:
                self.last.stream.come_to(self.last)


class DeviceArray:
    """The part of cupy.ndarray that the feed uses; NumPy cannot read it."""

    __array__ = None

    def __init__(self, gpu: FakeGpu, memory: Any) -> None:
        assert memory.flags.c_contiguous
        self._gpu = gpu
        self.memory = memory
        self.shape, self.dtype = memory.shape, memory.dtype

    def __len__(self) -> int:
        return len(self.memory)

    def __getitem__(self, part: slice) -> DeviceArray:
        return DeviceArray(self._gpu, self.memory[part])

    def view(self, dtype: Any) -> DeviceArray:
        return DeviceArray(self._gpu, self.memory.view(dtype))

    def reshape(self, *shape: int) -> DeviceArray:
        return DeviceArray(self._gpu, self.memory.reshape(shape))

    def copy(self) -> DeviceArray:
        made = self._gpu.empty(self.shape, self.dtype)
        self._gpu.stream.later(lambda: np.copyto(made.memory, self.memory))
        return made

    def set(self, arr: Any, stream: Stream) -> None:
        assert (arr.shape, arr.dtype) == (self.shape, self.dtype)
        begin = arr.ctypes.data
        assert any(start <= begin < end for start, end in self._gpu.pinned), "not page-locked"
        stream.later(lambda: np.copyto(self.memory, arr))

    def get(self) -> Any:
        self._gpu.stream.synchronize()
        return self.memory.copy()


class FakeGpu:
    """As trainer.gpu.gpu.Gpu; ``eager`` names streams, ``main`` and ``copies``."""

    nccl = None

    def __init__(self, eager: Sequence[str] = ()) -> None:
        self.streams: List[Stream] = []
        self.stream = Stream(self, "main" in eager)
        #: Names of the threads that made a device their current one.
        self.used_in: List[str] = []
        #: Addresses of page-locked memory.
        self.pinned: List[Tuple[int, int]] = []
        self.cupy = SimpleNamespace(
            asarray=lambda array: DeviceArray(self, array.copy()),
            empty=self.empty,
            RawKernel=lambda code, name: RawKernel(self, code, name),
            cuda=SimpleNamespace(
                Device=lambda: SimpleNamespace(use=self._use),
                Event=Event,
                Stream=lambda non_blocking: Stream(self, "copies" in eager),
                alloc_pinned_memory=self._pin,
            ),
        )

    def empty(self, shape: Any, dtype: Any) -> DeviceArray:
        memory = np.zeros(shape, dtype)
        self.stream.later(lambda: memory.fill(0))
        return DeviceArray(self, memory)

    def go_on(self) -> None:
        """Until no stream can do anything without waiting."""
        while sum(stream.go_on() for stream in self.streams):
            pass

    def _pin(self, size: int) -> bytearray:
        memory = bytearray(size)
        begin = np.frombuffer(memory, np.uint8).ctypes.data
        self.pinned.append((begin, begin + size))
        return memory

    def _use(self) -> None:
        self.used_in.append(threading.current_thread().name)


class RawKernel:
    def __init__(self, gpu: FakeGpu, code: str, name: str) -> None:
        self._gpu = gpu
        self._launch = launcher(code, name)

    def __call__(self, grid: Any, block: Any, arguments: Any) -> None:
        given: List[Any] = [ctypes.c_int(grid[0]), ctypes.c_int(block[0])]
        kinds = {np.dtype(np.int32): ctypes.c_int, np.dtype(np.float32): ctypes.c_float}
        for argument in arguments:
            if isinstance(argument, DeviceArray):
                given.append(ctypes.c_void_p(argument.memory.ctypes.data))
            else:
                given.append(kinds[argument.dtype](argument))
        # The arrays stay as long as the work that was given their addresses.
        self._gpu.stream.later(lambda held=arguments: self._launch(*given))  # type: ignore[misc]


@lru_cache
def launcher(code: str, name: str) -> Any:
    """``code``, whose operations stand in OPERATIONS, as a C function (grid, block, arguments)."""
    text = code.replace(OPERATIONS, C_OPERATIONS).replace('extern "C" ', "")
    found = re.search(rf"void {name}\((.*?)\) {{", text, re.DOTALL)
    assert found and "asm" not in text
    names = re.findall(r"(\w+)(?:,|\s*$)", found.group(1))
    source = (
        "#define __device__ static\n#define __global__\n"
        f"static struct {{ int x; }} blockIdx, threadIdx, blockDim;\n{text}\n"
        f"void launch(int grid, int block, {found.group(1)}) {{\n"
        "blockDim.x = block;\n"
        "for (blockIdx.x = 0; blockIdx.x < grid; ++blockIdx.x)\n"
        "for (threadIdx.x = 0; threadIdx.x < block; ++threadIdx.x)\n"
        f"{name}({', '.join(names)});\n}}\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        return c_library(source, Path(folder), "-ffp-contract=off").launch
