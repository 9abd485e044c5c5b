"""RMSprop (Tieleman and Hinton 2012, lecture 6.5 of their course), in the form of Chainer's."""

from __future__ import annotations

import chainer
import numpy as np

from manifests import schema

#: Defaults of ``chainer.optimizers.RMSprop``.
DECAY = 0.99
EPSILON = 1e-8


class RMSprop:
    """g += weight_decay * w;  m = a * m + (1 - a) * g^2;  w -= rate * g / (sqrt(m) + epsilon);

    all in float32. Weight decay is added to the gradient of every parameter, as by Chainer's hook.
    """

    def __init__(self, model: chainer.Link, settings: schema.Optimizer) -> None:
        self._parameters = [parameter for _, parameter in sorted(model.namedparams())]
        arrays = [parameter.array for parameter in self._parameters]
        self._squares = [chainer.backend.get_array_module(x).zeros_like(x) for x in arrays]
        self._weight_decay = np.float32(settings.weight_decay)

    def update(self, rate: float, epoch: float) -> None:
        step = np.float32(rate)
        for parameter, squares in zip(self._parameters, self._squares):
            xp = chainer.backend.get_array_module(parameter.array)
            gradient = parameter.array * self._weight_decay
            gradient += parameter.grad
            squares *= np.float32(DECAY)
            scratch = gradient * gradient
            scratch *= np.float32(1.0 - DECAY)
            squares += scratch
            xp.sqrt(squares, out=scratch)
            scratch += np.float32(EPSILON)
            xp.divide(gradient, scratch, out=scratch)
            scratch *= step
            parameter.array -= scratch
