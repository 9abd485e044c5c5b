"""Adam (Kingma and Ba 2015, arXiv:1412.6980)."""

from __future__ import annotations

import math

import chainer
import numpy as np

from manifests import schema

#: beta_1, beta_2 and epsilon as the paper recommends them (algorithm 1).
FIRST_DECAY = 0.9
SECOND_DECAY = 0.999
EPSILON = 1e-8


class Adam:
    """g += weight_decay * w;  m = b1 * m + (1 - b1) * g;  v = b2 * v + (1 - b2) * g^2;

    w -= rate * sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + epsilon);  arrays in float32, t from 1.

    The order of section 2's last paragraph, which Chainer has too: epsilon is added to the
    uncorrected root. Weight decay is added to every parameter's gradient, as by Chainer's hook.
    """

    def __init__(self, model: chainer.Link, settings: schema.Optimizer) -> None:
        self._parameters = [parameter for _, parameter in sorted(model.namedparams())]
        arrays = [parameter.array for parameter in self._parameters]
        self._firsts = [chainer.backend.get_array_module(x).zeros_like(x) for x in arrays]
        self._seconds = [chainer.backend.get_array_module(x).zeros_like(x) for x in arrays]
        self._weight_decay = np.float32(settings.weight_decay)
        self._steps = 0

    def update(self, rate: float, epoch: float) -> None:
        self._steps += 1
        correction = math.sqrt(1.0 - power(SECOND_DECAY, self._steps))
        step = np.float32(rate * correction / (1.0 - power(FIRST_DECAY, self._steps)))
        for parameter, first, second in zip(self._parameters, self._firsts, self._seconds):
            xp = chainer.backend.get_array_module(parameter.array)
            gradient = parameter.array * self._weight_decay
            gradient += parameter.grad
            first *= np.float32(FIRST_DECAY)
            second *= np.float32(SECOND_DECAY)
            scratch = gradient * np.float32(1.0 - FIRST_DECAY)
            first += scratch
            xp.multiply(gradient, gradient, out=scratch)
            scratch *= np.float32(1.0 - SECOND_DECAY)
            second += scratch
            xp.sqrt(second, out=scratch)
            scratch += np.float32(EPSILON)
            xp.divide(first, scratch, out=scratch)
            scratch *= step
            parameter.array -= scratch


def power(base: float, exponent: int) -> float:
    """By squaring: exactly rounded products, unlike pow() of the C library."""
    result = 1.0
    while exponent:
        if exponent & 1:
            result *= base
        base *= base
        exponent >>= 1
    return result
