"""Which algorithms Chainer asks of cuDNN: set before the first one runs, reported as configured.

What is chosen by environment variables stands in manifests/config/determinism.py.
"""

from __future__ import annotations

import warnings
from typing import Dict

import chainer

#: Bytes of scratch memory that an algorithm may need at most: among those that give the same bits
#: every time cuDNN names the fastest first, and the first that needs no more is taken.
WORKSPACE = 256 << 20


def chainer_settings(*, mixed: bool) -> Dict[str, object]:
    """Chainer's configuration by name (Chainer reference manual, "Configuring Chainer").

    Autotuning would take the algorithm that was fastest in a measurement; the persistent kernels
    of fast batch normalisation can overflow without notice. In float32 tensor cores are never asked
    for. In float16 Chainer and CuPy 13.6 ask for them on compute capability 7.0 at most; elsewhere
    cuDNN decides. (TF32 is off by the knob NVIDIA_TF32_OVERRIDE.)
    """
    return {
        "cudnn_deterministic": True,
        "autotune": False,
        "cudnn_fast_batch_normalization": False,
        "use_cudnn": "auto",
        "use_cudnn_tensor_core": "auto" if mixed else "never",
    }


def apply_settings(*, mixed: bool) -> Dict[str, str]:
    """Set them and return what Chainer and CuPy say of them then, as text by name."""
    for name, value in chainer_settings(mixed=mixed).items():
        setattr(chainer.global_config, name, value)
    cuda = chainer.backends.cuda
    cuda.set_max_workspace_size(WORKSPACE)
    # CuPy says so when a faster algorithm needs more memory, or may give other bits.
    warnings.simplefilter("ignore", cuda._PerformanceWarning)
    found = {name: str(getattr(chainer.config, name)) for name in chainer_settings(mixed=mixed)}
    from cupy import _core

    # By default sums are CUB's, whose order follows the GPU (cub::DeviceReduce, on determinism);
    # CuPy's own kernels cut an array by its shape alone (cupy/_core/_reduction.pyx).
    _core.set_reduction_accelerators([])
    _core.set_routine_accelerators([])
    accelerators = [*_core.get_reduction_accelerators(), *_core.get_routine_accelerators()]
    return {
        **found,
        "cudnn_max_workspace_size": str(cuda.get_max_workspace_size()),
        "cupy_accelerators": ",".join(map(str, accelerators)) or "none",
    }
