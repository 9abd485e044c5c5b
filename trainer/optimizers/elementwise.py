"""What the update rules have in common: every element of a parameter is changed by itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Callable, Dict, Tuple

import numpy as np
import numpy.typing as npt

from manifests.record import schema

if TYPE_CHECKING:
    import chainer

Array = npt.NDArray[np.float32]

#: Elements that a rule is given at a time on the CPU: operands and temporaries stay in the cache.
CHUNK = 1 << 14

#: What the kernels are made of. As a C expression a product and a sum would be contracted into one
#: operation that rounds once, and CuPy compiles everything with -ftz=true, which turns subnormal
#: numbers into zeros, in CUDA's intrinsics too (__fmul_rn and so on). NumPy does neither. In PTX an
#: explicit .rn is never contracted and subnormal numbers stay where .ftz is not written (PTX ISA,
#: floating point instructions).
OPERATIONS = """
__device__ inline float add_rn(float a, float b) {
    float r; asm("add.rn.f32 %0, %1, %2;" : "=f"(r) : "f"(a), "f"(b)); return r;
}
__device__ inline float sub_rn(float a, float b) {
    float r; asm("sub.rn.f32 %0, %1, %2;" : "=f"(r) : "f"(a), "f"(b)); return r;
}
__device__ inline float mul_rn(float a, float b) {
    float r; asm("mul.rn.f32 %0, %1, %2;" : "=f"(r) : "f"(a), "f"(b)); return r;
}
__device__ inline float div_rn(float a, float b) {
    float r; asm("div.rn.f32 %0, %1, %2;" : "=f"(r) : "f"(a), "f"(b)); return r;
}
__device__ inline float sqrt_rn(float a) {
    float r; asm("sqrt.rn.f32 %0, %1;" : "=f"(r) : "f"(a)); return r;
}
"""


@dataclass(frozen=True)
class Rule:
    """One step of one parameter ``w`` with gradient ``g``, in two forms that give the same bits.

    (Of a NaN the payload may differ.) Weight decay has been added to the gradient.

    ``on_host(w, g, *states, n)`` changes arrays ``w`` and ``states`` in place; these are float32 of
    one shape. ``n`` is a ``numbers`` tuple of float32 scalars.

    ``on_gpu`` is the body of a CUDA kernel for one element, with the names of states and numbers as
    floats, written in :data:`OPERATIONS` alone.
    """

    name: str
    states: Tuple[str, ...]
    #: A NamedTuple of floats.
    numbers: Any
    on_host: Callable[..., None]
    on_gpu: str

    def __call__(self, w: Any, gradient: Any, states: Tuple[Any, ...], decay: Any, n: Any) -> None:
        """Change ``w`` and ``states`` where they lie, NumPy's or CuPy's arrays."""
        if isinstance(w, np.ndarray):
            arrays = [w, gradient, *states]
            # An iterator rather than slices of flat arrays: a gradient may have another order.
            with np.nditer(
                arrays,
                flags=["external_loop", "buffered", "zerosize_ok"],
                op_flags=[["readonly" if a is gradient else "readwrite"] for a in arrays],
                order="C",
                buffersize=CHUNK,
            ) as chunks:
                for w_, gradient_, *states_ in chunks:
                    self.on_host(w_, w_ * decay + gradient_, *states_, n)
        else:
            self.kernel(gradient, decay, *n, w, *states)

    @cached_property
    def kernel(self) -> Any:
        """(gradient, decay, *n, w, *states): one launch, no memory but that of its arguments."""
        import cupy

        return cupy.ElementwiseKernel(
            ", ".join(f"float32 {name}" for name in ("gradient", "decay", *self.numbers._fields)),
            ", ".join(f"float32 {name}" for name in ("w", *self.states)),
            self.body,
            f"bundle_{self.name}",
            preamble=OPERATIONS,
        )

    @property
    def body(self) -> str:
        return f"const float g = add_rn(mul_rn(w, decay), gradient);{self.on_gpu}"


class Elementwise(ABC):
    """An optimizer by a rule: keeps, for each parameter, its states, which begin with zeros.

    Weight decay is added to the reduced gradient of every parameter, as by Chainer's hook.
    """

    rule: Rule

    def __init__(self, model: chainer.Link, settings: schema.Optimizer) -> None:
        self._settings = settings
        self._parameters = [
            (name, parameter, tuple(zeros_like(parameter.array) for _ in self.rule.states))
            for name, parameter in sorted(model.namedparams())
        ]

    @abstractmethod
    def numbers(self, rate: float, epoch: float, step: int) -> Tuple[float, ...]:
        """The rule's numbers at this step; each is rounded to float32 once."""

    def update(self, rate: float, epoch: float, step: int) -> None:
        decay = np.float32(self._settings.weight_decay)
        n = self.rule.numbers(*map(np.float32, self.numbers(rate, epoch, step)))
        for _, parameter, states in self._parameters:
            self.rule(parameter.array, parameter.grad, states, decay, n)

    def named_state(self) -> Dict[str, Array]:
        return {
            f"{name}/{state}": array
            for name, _, states in self._parameters
            for state, array in zip(self.rule.states, states)
        }


def zeros_like(array: Any) -> Any:
    if isinstance(array, np.ndarray):
        return np.zeros_like(array)
    import cupy

    return cupy.zeros_like(array)
