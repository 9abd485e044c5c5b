"""RMSprop (Tieleman and Hinton 2012, lecture 6.5 of their course), in the form of Chainer's."""

from __future__ import annotations

from typing import Tuple

import numpy as np

from trainer.optimizers.elementwise import Array, Elementwise, Rule

#: Defaults of ``chainer.optimizers.RMSprop``.
DECAY = 0.99
EPSILON = 1e-8


def on_host(
    w: Array,
    gradient: Array,
    squares: Array,
    decay: np.float32,
    alpha: np.float32,
    rest: np.float32,
    epsilon: np.float32,
    rate: np.float32,
) -> None:
    g = w * decay
    g += gradient
    squares *= alpha
    scratch = g * g
    scratch *= rest
    squares += scratch
    np.sqrt(squares, out=scratch)
    scratch += epsilon
    g /= scratch
    g *= rate
    w -= g


RULE = Rule(
    name="rmsprop",
    states=("squares",),
    numbers=("decay", "alpha", "rest", "epsilon", "rate"),
    on_host=on_host,
    on_gpu="""
        const float g = add_rn(mul_rn(w, decay), gradient);
        squares = add_rn(mul_rn(squares, alpha), mul_rn(mul_rn(g, g), rest));
        const float root = add_rn(sqrt_rn(squares), epsilon);
        w = sub_rn(w, mul_rn(div_rn(g, root), rate));
    """,
)


class RMSprop(Elementwise):
    """g += weight_decay * w;  m = a * m + (1 - a) * g^2;  w -= rate * g / (sqrt(m) + epsilon);

    all in float32. Weight decay is added to the gradient of every parameter, as by Chainer's hook.
    """

    rule = RULE

    def numbers(self, rate: float, epoch: float, step: int) -> Tuple[float, ...]:
        return self._settings.weight_decay, DECAY, 1.0 - DECAY, EPSILON, rate
