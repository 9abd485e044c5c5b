"""What this process sees of its machine: versions that really loaded, CPU, BLAS."""

from __future__ import annotations

import ctypes
import platform
import socket
from pathlib import Path
from typing import Any, NamedTuple, Optional

import numpy as np


class Cpu(NamedTuple):
    model: str
    features: frozenset[str]


class OpenBlas(NamedTuple):
    config: str
    core: str
    threads: int


def parse_cpuinfo(text: str) -> Cpu:
    """The first processor of ``/proc/cpuinfo`` (x86: ``model name`` and ``flags``)."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    return Cpu(fields.get("model name", "unknown"), frozenset(fields.get("flags", "").split()))


def this_cpu() -> Cpu:
    return parse_cpuinfo(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace"))


def loaded_openblas() -> Optional[OpenBlas]:
    """Ask the OpenBLAS that is mapped into this process; None when there is none.

    NumPy's wheels carry one whose symbols end in ``64_`` (64-bit integers).
    """
    for line in Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines():
        path = line.partition("/")[2]
        if "openblas" not in path.rpartition("/")[2]:
            continue
        library = ctypes.CDLL(f"/{path}")
        suffix = "64_" if hasattr(library, "openblas_get_config64_") else ""
        return OpenBlas(
            config=_text(library, f"openblas_get_config{suffix}"),
            core=_text(library, f"openblas_get_corename{suffix}"),
            threads=int(getattr(library, f"openblas_get_num_threads{suffix}")()),
        )
    return None


def _text(library: Any, name: str) -> str:
    function = getattr(library, name)
    function.restype = ctypes.c_char_p
    value: bytes = function()
    return " ".join(value.decode().split())


def numpy_features() -> dict[str, bool]:
    """CPU features that NumPy found and was not told to leave out."""
    from numpy.core import _multiarray_umath

    return dict(_multiarray_umath.__cpu_features__)


def host_name() -> str:
    return socket.gethostname()


def versions(*, with_gpus: bool = False) -> dict[str, str]:
    import chainer
    import mpi4py
    import PIL
    import pydantic
    from mpi4py import MPI

    blas = loaded_openblas()
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "chainer": chainer.__version__,
        "mpi4py": mpi4py.__version__,
        "mpi": MPI.Get_library_version().rstrip("\0 \n").splitlines()[0],
        "openblas": blas.config if blas else "none",
        "pillow": PIL.__version__,
        "pydantic": pydantic.VERSION,
        "libc": " ".join(platform.libc_ver()),
        **(gpu_versions() if with_gpus else {}),
    }


def gpu_versions() -> dict[str, str]:
    """Of the libraries that CuPy loaded, as numbers of their own making (cuDNN 8.9.7: 8907)."""
    import cupy
    from cupy.cuda import cublas, cudnn, curand, device, nccl, nvrtc

    return {
        "cupy": cupy.__version__,
        "cudnn": str(cudnn.getVersion()),
        "nccl": str(nccl.get_version()),
        "cublas": str(cublas.getVersion(device.get_cublas_handle())),
        "curand": str(curand.getVersion()),
        "nvrtc": ".".join(map(str, nvrtc.getVersion())),
        "cuda_runtime": str(cupy.cuda.get_local_runtime_version()),
        "cuda_driver": str(cupy.cuda.runtime.driverGetVersion()),
    }
