"""Stochastic gradient descent with momentum, in the form of Chainer's MomentumSGD."""

from __future__ import annotations

from typing import Tuple

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


RULE = Rule(
    name="momentum_sgd",
    states=("velocity",),
    numbers=("decay", "momentum", "rate"),
    on_host=on_host,
    on_gpu="""
        const float g = add_rn(mul_rn(w, decay), gradient);
        velocity = sub_rn(mul_rn(velocity, momentum), mul_rn(g, rate));
        w = add_rn(w, velocity);
    """,
)


class MomentumSGD(Elementwise):
    """g += weight_decay * w;  v = momentum * v - rate * g;  w += v;  all in float32.

    Weight decay is added to the reduced gradient, to every parameter, as by Chainer's hook.
    """

    rule = RULE

    def numbers(self, rate: float, epoch: float, step: int) -> Tuple[float, ...]:
        return self._settings.weight_decay, self._settings.momentum, rate
