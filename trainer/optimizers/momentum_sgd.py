"""Stochastic gradient descent with momentum, in the form of Chainer's MomentumSGD."""

from __future__ import annotations

from typing import Dict

import numpy as np

from trainer.optimizers.elementwise import Array, Elementwise, Rule


def on_host(
    w: Array,
    gradient: Array,
    velocity: Array,
    decay: np.float32,
    momentum: np.float32,
    rate: np.float32,
) -> None:
    g = w * decay
    g += gradient
    g *= rate
    velocity *= momentum
    velocity -= g
    w += velocity


class MomentumSGD(Elementwise):
    """g += weight_decay * w;  v = momentum * v - rate * g;  w += v;  all in float32.

    Weight decay is added to the reduced gradient, to every parameter, as by Chainer's hook.
    """

    rule = Rule(states=("velocity",), numbers=("decay", "momentum", "rate"), on_host=on_host)

    def numbers(self, rate: float, epoch: float, step: int) -> Dict[str, float]:
        return {
            "decay": self._settings.weight_decay,
            "momentum": self._settings.momentum,
            "rate": rate,
        }
