"""Loss scaling: float16 gradients that would be rounded to zero are computed larger.

Micikevicius et al. 2018 ("Mixed Precision Training", arXiv:1710.03740), section 3.2: the loss is
multiplied by a factor, the gradients are divided by it before they are used, and a step whose
gradients overflowed is left out. The factor is a power of two, so nothing is rounded by it. How it
is found is NVIDIA's rule ("Train With Mixed Precision", on choosing a scaling factor): halve it at
an overflow, double it after many steps without one.

The rule looks at the reduced gradients, which are the same on every rank, and so is its state.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Dict, List

import numpy as np

from trainer.trouble import TrainerError

if TYPE_CHECKING:
    from trainer.optimizers import Optimizer

FIRST = 2.0**16
LARGEST = 2.0**24
#: Steps without an overflow after which the factor is doubled.
PATIENCE = 2000


class LossScale:
    """Its whole state are the arrays of :meth:`named_state`, in host memory."""

    def __init__(self) -> None:
        self._factor = np.array([FIRST], np.float32)
        self._clean = np.array([0], np.int64)
        self.overflowed = False

    @property
    def factor(self) -> float:
        """What the next loss is multiplied by."""
        return float(self._factor[0])

    def settle(self, gradients: List[Any]) -> None:
        """Divide the reduced gradients by the factor, in place, and choose the next one.

        Raises TrainerError when they overflow even though the loss was not enlarged.
        """
        self.overflowed = not divide(gradients, np.float32(1 / self.factor))
        if self.overflowed:
            if self.factor <= 1:
                raise TrainerError(
                    "the gradients are too large for float16 although the loss is not scaled",
                    "submit a new run with a smaller lr or a longer warm-up, or with precision "
                    "float32",
                )
            self._factor /= 2
            self._clean[0] = 0
            return
        self._clean += 1
        if self._clean[0] == PATIENCE:
            self._factor[0] = min(self.factor * 2, LARGEST)
            self._clean[0] = 0

    def named_state(self) -> Dict[str, Any]:
        """The arrays themselves, no copies."""
        return {"/loss_scale/factor": self._factor, "/loss_scale/clean_steps": self._clean}


class Scaled:
    """An optimizer (:class:`trainer.optimizers.Optimizer`) that leaves out overflowed steps."""

    def __init__(self, optimizer: Optimizer, scale: LossScale) -> None:
        self._optimizer = optimizer
        self._scale = scale

    def update(self, rate: float, epoch: float, step: int) -> None:
        if not self._scale.overflowed:
            self._optimizer.update(rate, epoch, step)

    def named_state(self) -> Dict[str, Any]:
        return {**self._optimizer.named_state(), **self._scale.named_state()}


def divide(gradients: List[Any], share: np.float32) -> bool:
    """Multiply each by ``share``, in place; False when a number is infinite or none at all."""
    if all(isinstance(gradient, np.ndarray) for gradient in gradients):
        for gradient in gradients:
            gradient *= share
        return all(bool(np.isfinite(gradient).all()) for gradient in gradients)
    import cupy

    bad = cupy.zeros(1, np.int32)
    for gradient in gradients:
        check_kernel()(share, gradient, bad)
    return not int(bad.get()[0])


#: Threads that write here all write the same number.
DIVIDE = "gradient = gradient * share; if (!isfinite(gradient)) bad[0] = 1;"


@cache
def check_kernel() -> Any:
    import cupy

    return cupy.ElementwiseKernel(
        "float32 share", "float32 gradient, raw int32 bad", DIVIDE, "bundle_unscale"
    )
