"""The knobs that choose algorithms, and under which conditions the bits are promised.

Pure data per stack. The job script sets every knob, the manifest's identity records it, the
trainer refuses to start when one did not take effect. docs/determinism.md says what follows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Tuple

from manifests.record.schema import Determinism, GpuPromise, Promises

ENVIRONMENT = "environment"
MCA = "mca"


@dataclass(frozen=True)
class Knob:
    """One setting: an environment variable or an Open MPI parameter, and why it is set."""

    kind: str
    name: str
    value: str
    reason: str
    source: str


_CPU: Tuple[Knob, ...] = (
    Knob(
        ENVIRONMENT,
        "OPENBLAS_CORETYPE",
        "Haswell",
        "OpenBLAS picks its kernels by the CPU it meets, and they sum in different orders; the "
        "Haswell kernels run on every CPU with AVX2 and FMA, and their block sizes are constants",
        "OpenBLAS: driver/others/dynamic.c, kernel/setparam-ref.c (HASWELL takes the *_DEFAULT_P)",
    ),
    Knob(
        ENVIRONMENT,
        "OPENBLAS_NUM_THREADS",
        "1",
        "with more threads a matrix product is divided differently, by the cores that are there",
        "OpenBLAS user manual, section on run-time variables",
    ),
    Knob(
        ENVIRONMENT,
        "OMP_NUM_THREADS",
        "1",
        "OpenBLAS and libraries with OpenMP fall back on it for their number of threads",
        "OpenMP 5.0 specification, section 6.2",
    ),
    Knob(
        ENVIRONMENT,
        "NPY_DISABLE_CPU_FEATURES",
        "AVX512F AVX512CD AVX512_KNL AVX512_KNM AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL",
        "NumPy's exp, log and pow have AVX-512 forms whose last bits differ from the AVX2 ones; "
        "these are all the AVX-512 groups that NumPy 1.23.5 dispatches on",
        "NumPy manual, CPU build options, run-time section; numpy.core._multiarray_umath."
        "__cpu_dispatch__",
    ),
    Knob(
        ENVIRONMENT,
        "PYTHONHASHSEED",
        "0",
        "the order of sets of strings follows the seed of their hash",
        "Python documentation, command line and environment",
    ),
    Knob(
        MCA,
        "coll",
        "basic,libnbc,self,inter,tuned",
        "a site's Open MPI may hold further components (hcoll, han, adapt, sm) with reductions of "
        "their own and a higher priority",
        "Open MPI 4.1 FAQ, section on MCA parameters; `ompi_info`",
    ),
    Knob(
        MCA,
        "coll_tuned_use_dynamic_rules",
        "1",
        "without it the next parameter is ignored",
        "`ompi_info --param coll tuned --level 9`",
    ),
    Knob(
        MCA,
        "coll_tuned_allreduce_algorithm",
        "3",
        "recursive doubling: the tree of sums depends on the number of ranks alone; by default "
        "the algorithm changes with the length of the message, and ring algorithms sum each part "
        "of a message in another order",
        "`ompi_info --param coll tuned --level 9`; ompi/mca/coll/base/coll_base_allreduce.c",
    ),
)

_CUPY = "CuPy reference manual, environment variables"
_NCCL = "NCCL documentation, environment variables"

_GPU: Tuple[Knob, ...] = (
    Knob(
        ENVIRONMENT,
        "CUBLAS_WORKSPACE_CONFIG",
        ":4096:8",
        "with buffers of its own choice cuBLAS may pick another kernel when streams compete for "
        "them; eight of 4096 KiB are one of the two settings that it gives the same bits with",
        "cuBLAS library, section on results reproducibility",
    ),
    Knob(
        ENVIRONMENT,
        "NVIDIA_TF32_OVERRIDE",
        "0",
        "since Ampere, cuBLAS and cuDNN may round float32 operands to the 10 bits of TF32",
        "cuDNN developer guide, section on tensor core operations; CUDA best practices",
    ),
    Knob(
        ENVIRONMENT,
        "CUPY_TF32",
        "0",
        "CuPy must not ask cuBLAS for TF32 either",
        _CUPY,
    ),
    Knob(
        ENVIRONMENT,
        "CUPY_CACHE_IN_MEMORY",
        "1",
        "kernels are compiled from the run's own sources, not taken from a folder in which other "
        "jobs wrote; ranks do not compete for a network file system",
        _CUPY,
    ),
    Knob(
        ENVIRONMENT,
        "CUPY_SEED",
        "0",
        "nothing here draws from CuPy's generators; if a change did, it would draw the same",
        _CUPY,
    ),
    Knob(
        ENVIRONMENT,
        "CHAINER_SEED",
        "0",
        "the same for Chainer's dropout states; the trainer's masks are its own",
        "chainer/backends/cuda.py, get_cudnn_dropout_states",
    ),
    Knob(
        ENVIRONMENT,
        "CUDA_DEVICE_ORDER",
        "PCI_BUS_ID",
        "by default CUDA counts the fastest GPU first and leaves the order of the others open; "
        "which rank gets which GPU decides NCCL's rings",
        "CUDA C++ programming guide, CUDA environment variables",
    ),
    Knob(
        ENVIRONMENT,
        "NCCL_ALGO",
        "Ring",
        "NCCL picks ring, tree or NVLS by the length of a message and its model of the machine, "
        "and they add in different orders",
        _NCCL,
    ),
    Knob(
        ENVIRONMENT,
        "NCCL_PROTO",
        "Simple",
        "the protocols cut a message differently, hence begin its parts at different ranks",
        _NCCL,
    ),
    Knob(
        ENVIRONMENT,
        "NCCL_NVLS_ENABLE",
        "0",
        "on Hopper the NVLink switch would add, in an order of its own",
        _NCCL,
    ),
)

KNOBS: Dict[str, Tuple[Knob, ...]] = {"cpu": _CPU, "cuda12": (*_CPU, *_GPU)}

#: What the Haswell kernels of OpenBLAS and NumPy's AVX2 loops are made of.
_CPU_FEATURES = ["avx2", "fma"]

#: Compute capabilities that the stack's libraries have native code for: 6.0, 7.0, 8.0 and 9.0, and
#: those of the same major version that run it as it is (CUDA C++ programming guide, section on
#: binary compatibility). Left out are 6.2, 7.2 and 8.7: no x86_64 machine has them.
_CUDA12_CAPABILITIES = ["6.0", "6.1", "7.0", "7.5", "8.0", "8.6", "8.9", "9.0"]

#: CUDA 12 release notes, table of minimum driver versions for CUDA minor version compatibility.
_CUDA12_DRIVER = "525.60.13"

_PROMISES: Dict[str, Promises] = {
    "cpu": Promises(level="bitwise", cpu_features=_CPU_FEATURES, architecture="x86_64"),
    "cuda12": Promises(
        level="bitwise",
        cpu_features=_CPU_FEATURES,
        architecture="x86_64",
        gpu=GpuPromise(driver=_CUDA12_DRIVER, capabilities=_CUDA12_CAPABILITIES),
    ),
}


def determinism_for(stack: str) -> Determinism:
    """Settings for every run on ``stack``. Raises KeyError for an unknown stack."""
    return Determinism(environment=_of_kind(stack, ENVIRONMENT), mca=_of_kind(stack, MCA))


def promises_for(stack: str) -> Promises:
    """Conditions of the promise on ``stack``. Raises KeyError for an unknown stack."""
    return _PROMISES[stack]


def has_gpus(stack: str) -> bool:
    """Whether runs on ``stack`` have a GPU per rank; False for an unknown stack."""
    return stack in _PROMISES and _PROMISES[stack].gpu is not None


def _of_kind(stack: str, kind: str) -> Dict[str, str]:
    return {knob.name: knob.value for knob in KNOBS[stack] if knob.kind == kind}
