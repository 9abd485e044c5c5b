"""Errors of CuPy and of NVIDIA's libraries -> the message for the person who started the run."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Iterator, Optional

from trainer.trouble import TrainerError, rank_of, step_of

#: CuPy's packages (``cupy.cuda.memory``, ``cupy_backends.cuda.api.runtime`` and so on, CuPy 13.6):
#: an error is known by its name, so that nothing of CuPy is imported where it is not in use.
PACKAGES = ("cupy", "cupy_backends")
TOO_LITTLE_MEMORY = "OutOfMemoryError"
#: Of the runtime, the driver, cuDNN, cuBLAS and NCCL.
LIBRARIES = ("CUDARuntimeError", "CUDADriverError", "CuDNNError", "CUBLASError", "NcclError")


class GpuFailed(TrainerError):
    """The GPU's fault or the trainer's: only its traceback tells."""


@contextmanager
def gpu_failures(rank: int, host: str, gpu: str) -> Iterator[None]:
    """Raise TrainerError for what a GPU or its libraries raise inside; all else goes through.

    ``gpu`` is its PCI address; ``rank`` works on it unless the error was marked with another. The
    step that it was marked with stays.
    """
    try:
        yield
    except Exception as error:
        at_work = rank_of(error, rank)
        translated = gpu_failure(error, at_work, host, gpu)
        if translated is None:
            raise
        translated.step = step_of(error)  # type: ignore[attr-defined]
        translated.rank = at_work  # type: ignore[attr-defined]
        raise translated from error


def gpu_failure(error: Exception, rank: int, host: str, gpu: str) -> Optional[TrainerError]:
    """None for an error that is not CuPy's."""
    names = {
        kind.__name__ for kind in type(error).__mro__ if kind.__module__.split(".")[0] in PACKAGES
    }
    if TOO_LITTLE_MEMORY in names:
        return TrainerError(
            f"rank {rank} on {host}: GPU {gpu} has too little memory: {error}",
            "submit a new run with a smaller batchsize and val_batchsize; if another process has "
            "memory on this GPU (nvidia-smi), resume the run on another node "
            "(bundle.py resume RUN)",
        )
    if names.intersection(LIBRARIES):
        return GpuFailed(
            f"GPU {gpu} of rank {rank} on {host} failed: {error}",
            "resume the run on another node (bundle.py resume RUN); if it fails there too, report "
            "it with the traceback in the run's logs",
        )
    return None
