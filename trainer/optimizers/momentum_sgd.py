"""Stochastic gradient descent with momentum, in the form of Chainer's MomentumSGD."""

from __future__ import annotations

import chainer
import numpy as np

from manifests import schema


class MomentumSGD:
    """g += weight_decay * w;  v = momentum * v - rate * g;  w += v;  all in float32.

    Weight decay is added to the reduced gradient, to every parameter, as by Chainer's hook.
    """

    def __init__(self, model: chainer.Link, settings: schema.Optimizer) -> None:
        self._parameters = [parameter for _, parameter in sorted(model.namedparams())]
        self._velocities = [np.zeros_like(parameter.array) for parameter in self._parameters]
        self._scratch = [np.empty_like(parameter.array) for parameter in self._parameters]
        self._momentum = np.float32(settings.momentum)
        self._weight_decay = np.float32(settings.weight_decay)

    def update(self, rate: float, epoch: float) -> None:
        step = np.float32(rate)
        for parameter, velocity, scratch in zip(self._parameters, self._velocities, self._scratch):
            np.multiply(parameter.array, self._weight_decay, out=scratch)
            scratch += parameter.grad
            scratch *= step
            velocity *= self._momentum
            velocity -= scratch
            parameter.array += velocity
