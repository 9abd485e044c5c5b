"""The knobs that choose algorithms, and under which conditions the bits are promised.

Pure data per stack. The job script sets every knob, the manifest's identity records it, the
trainer refuses to start when one did not take effect. docs/determinism.md says what follows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Tuple

from manifests.schema import Determinism, Promises

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

KNOBS: Dict[str, Tuple[Knob, ...]] = {"cpu": _CPU}

_PROMISES: Dict[str, Promises] = {
    # What the Haswell kernels of OpenBLAS and NumPy's AVX2 loops are made of.
    "cpu": Promises(level="bitwise", cpu_features=["avx2", "fma"], architecture="x86_64"),
}


def determinism_for(stack: str) -> Determinism:
    """Settings for every run on ``stack``. Raises KeyError for an unknown stack."""
    return Determinism(environment=_of_kind(stack, ENVIRONMENT), mca=_of_kind(stack, MCA))


def promises_for(stack: str) -> Promises:
    """Conditions of the promise on ``stack``. Raises KeyError for an unknown stack."""
    return _PROMISES[stack]


def _of_kind(stack: str, kind: str) -> Dict[str, str]:
    return {knob.name: knob.value for knob in KNOBS[stack] if knob.kind == kind}
