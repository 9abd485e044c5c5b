"""What the update rules have in common: every element of a parameter is changed by itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Callable, Dict, Tuple

import numpy as np
import numpy.typing as npt

from manifests import schema

if TYPE_CHECKING:
    import chainer

Array = npt.NDArray[np.float32]

#: Elements that a rule is given at a time on the CPU: operands and temporaries stay in the cache.
CHUNK = 1 << 15

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
    """One step of one parameter, in two forms that give the same bits (NaNs but for their payload).

    ``on_host(w, gradient, *states, *numbers)`` changes arrays ``w`` and ``states`` in place and
    only reads ``gradient``; these are float32 of one shape, ``numbers`` are float32 scalars.

    ``on_gpu`` is the body of a CUDA kernel for one element, with the same names as floats, written
    in :data:`OPERATIONS` alone.
    """

    name: str
    states: Tuple[str, ...]
    numbers: Tuple[str, ...]
    on_host: Callable[..., None]
    on_gpu: str

    def __call__(self, w: Any, gradient: Any, states: Tuple[Any, ...], numbers: Any) -> None:
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
                for chunk in chunks:
                    self.on_host(*chunk, *numbers)
        else:
            self.kernel(gradient, *numbers, w, *states)

    @cached_property
    def kernel(self) -> Any:
        """(gradient, *numbers, w, *states): one launch, no memory but that of its arguments."""
        import cupy

        return cupy.ElementwiseKernel(
            ", ".join(f"float32 {name}" for name in ("gradient", *self.numbers)),
            ", ".join(f"float32 {name}" for name in ("w", *self.states)),
            self.on_gpu,
            f"bundle_{self.name}",
            preamble=OPERATIONS,
        )


class Elementwise(ABC):
    """An optimizer by a rule: keeps, for each parameter, its states, which begin with zeros."""

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
        numbers = [np.float32(number) for number in self.numbers(rate, epoch, step)]
        for _, parameter, states in self._parameters:
            self.rule(parameter.array, parameter.grad, states, numbers)

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
