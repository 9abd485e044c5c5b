"""What communicators need of CuPy, in one place, so that a test can put a fake there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Gpu:
    """The module ``cupy``, and ``cupy.cuda.nccl``, which ``import cupy`` alone does not bring."""

    cupy: Any
    nccl: Any

    @property
    def stream(self) -> Any:
        """The current stream, on which Chainer's kernels run and ours too."""
        return self.cupy.cuda.get_current_stream()


def this_gpu() -> Gpu:
    """CuPy's current device must be this rank's before a communicator is made with it: that of the
    rank's number in its node (``nodes.node_communicator``), as in ChainerMN."""
    import cupy
    from cupy.cuda import nccl

    return Gpu(cupy, nccl)
