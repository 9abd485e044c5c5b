"""Local response normalisation on the CPU (Krizhevsky, Sutskever, Hinton 2012, section 3.3)."""

from __future__ import annotations

from typing import Any, Tuple

import chainer
import numpy as np
import numpy.typing as npt

from trainer.models.convolution import samples_first, samples_last

Array = npt.NDArray[Any]

K, ALPHA, BETA = 2.0, 1e-4, 0.75
#: Channels on each side that take part: the paper's n = 5 are two on each side and the channel.
REACH = 2


class LocalResponseNormalization(chainer.FunctionNode):  # type: ignore[misc]
    """y[c] = x[c] / (k + alpha * sum of x[j]**2 over the channels near c) ** beta

    The constants are the paper's. The power 3/4 is taken by two square roots, which IEEE 754
    rounds correctly, while ``pow`` has other last bits in another library.
    """

    def forward_cpu(self, inputs: Tuple[Array]) -> Tuple[Array]:
        x = samples_last(inputs[0])
        self.retain_inputs((0,))
        y = x * self._factor(self._scale(x))
        return (samples_first(y),)

    def backward(
        self, indexes: Tuple[int, ...], grad_outputs: Tuple[chainer.Variable]
    ) -> Tuple[chainer.Variable]:
        del indexes
        x = samples_last(self.get_retained_inputs()[0].array)
        gy = samples_last(grad_outputs[0].array)
        scale = self._scale(x)
        factor = self._factor(scale)
        shared = gy * x
        shared *= factor
        shared /= scale
        gx = near_sum(shared)
        gx *= x
        gx *= x.dtype.type(-2 * ALPHA * BETA)
        gx += gy * factor
        return (chainer.as_variable(samples_first(gx)),)

    def _scale(self, x: Array) -> Array:
        scale = near_sum(x * x)
        scale *= x.dtype.type(ALPHA)
        scale += x.dtype.type(K)
        return scale

    def _factor(self, scale: Array) -> Array:
        root = np.sqrt(scale)
        power: Array = root * np.sqrt(root)
        return np.reciprocal(power, out=power)


def near_sum(x: Array) -> Array:
    """(C, …): for each channel the sum over itself and REACH channels on each side."""
    total = x.copy()
    for distance in range(1, REACH + 1):
        total[distance:] += x[:-distance]
        total[:-distance] += x[distance:]
    return total


def local_response_normalization(x: Any) -> chainer.Variable:
    return LocalResponseNormalization().apply((x,))[0]
