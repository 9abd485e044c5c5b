"""RMSprop that turns into momentum SGD (Akiba, Suzuki, Fukuda 2017, arXiv:1711.04325)."""

from __future__ import annotations

import chainer
import numpy as np

from manifests import schema
from trainer.schedules import sgd_share

#: mu_2, epsilon and eta_RMSprop of the paper; mu_1 is the key ``momentum``.
SQUARES_DECAY = 0.99
EPSILON = 1e-8
RMSPROP_RATE = 3e-4


class RMSpropWarmup:
    """g += weight_decay * w;  m = mu2 * m + (1 - mu2) * g^2;

    d = mu1 * d - (a_sgd + a_rms / (sqrt(m) + epsilon)) * g;  w += rate * d;  all in float32.

    a_sgd = :func:`trainer.schedules.sgd_share` of the epoch, a_rms = (1 - a_sgd) * 3e-4 / rate.
    Weight decay is added to the gradient of every parameter, as by Chainer's hook.
    """

    def __init__(self, model: chainer.Link, settings: schema.Optimizer) -> None:
        self._parameters = [parameter for _, parameter in sorted(model.namedparams())]
        arrays = [parameter.array for parameter in self._parameters]
        self._squares = [chainer.backend.get_array_module(x).zeros_like(x) for x in arrays]
        self._directions = [chainer.backend.get_array_module(x).zeros_like(x) for x in arrays]
        self._momentum = np.float32(settings.momentum)
        self._weight_decay = np.float32(settings.weight_decay)

    def update(self, rate: float, epoch: float) -> None:
        share = sgd_share(epoch)
        sgd, step = np.float32(share), np.float32(rate)
        rmsprop = np.float32((1.0 - share) * RMSPROP_RATE / rate)
        for parameter, squares, direction in zip(self._parameters, self._squares, self._directions):
            xp = chainer.backend.get_array_module(parameter.array)
            gradient = parameter.array * self._weight_decay
            gradient += parameter.grad
            squares *= np.float32(SQUARES_DECAY)
            scratch = gradient * gradient
            scratch *= np.float32(1.0 - SQUARES_DECAY)
            squares += scratch
            xp.sqrt(squares, out=scratch)
            scratch += np.float32(EPSILON)
            xp.divide(rmsprop, scratch, out=scratch)
            scratch += sgd
            scratch *= gradient
            direction *= self._momentum
            direction -= scratch
            xp.multiply(direction, step, out=scratch)
            parameter.array += scratch
