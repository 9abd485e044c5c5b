"""Environment variables that a job clears, whoever set them: they may choose algorithms."""

from __future__ import annotations

from typing import Iterable, List

#: Prefixes of names that choose algorithms or inject code; a job starts without them and gets back
#: only what its manifest records.
SCRUBBED = (
    "CHAINER", "CUPY_", "CUDNN_", "CUBLAS", "CUDA_", "NVRTC_", "NVIDIA_TF32", "NCCL_", "OPENBLAS_",
    "GOTO_", "OMP_", "MKL_", "BLIS_", "NPY_", "NUMEXPR_", "PYTHON", "LD_PRELOAD", "GLIBC_TUNABLES",
    "MALLOC_", "OMPI_MCA_coll", "SINGULARITY", "APPTAINER",
)  # fmt: skip

#: What stays of these: where Apptainer may write, and by which the scheduler or the site hands out
#: GPUs.
KEPT = (
    "APPTAINER_TMPDIR", "APPTAINER_CACHEDIR", "SINGULARITY_TMPDIR", "SINGULARITY_CACHEDIR",
    "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "CUDA_MPS_PIPE_DIRECTORY",
    "CUDA_MPS_LOG_DIRECTORY",
)  # fmt: skip

#: Prefixes of what a site profile may set nevertheless: on which network NCCL talks. A site with
#: several networks does not work without them; the ring may follow them, so a result records them,
#: and other bits under others are no ``diverged``.
NETWORK = ("NCCL_SOCKET_", "NCCL_IB_", "NCCL_NET")


def cleared(names: Iterable[str]) -> List[str]:
    """Those of ``names`` that a site profile may not set."""
    return [
        name
        for name in names
        if name.startswith(SCRUBBED) and name not in KEPT and not name.startswith(NETWORK)
    ]
