"""RMSprop (Tieleman and Hinton 2012, lecture 6.5 of their course), in the form of Chainer's."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from trainer.optimizers.elementwise import Array, Elementwise, Rule

#: Defaults of ``chainer.optimizers.RMSprop``.
ALPHA = 0.99
EPSILON = 1e-8


class Numbers(NamedTuple):
    alpha: float
    rest: float
    epsilon: float
    rate: float


def on_host(w: Array, g: Array, squares: Array, n: Numbers) -> None:
    squares[...] = squares * n.alpha + g * g * n.rest
    w -= g / (np.sqrt(squares) + n.epsilon) * n.rate


class RMSprop(Elementwise):
    """m = a * m + (1 - a) * g^2;  w -= rate * g / (sqrt(m) + epsilon);  all in float32."""

    rule = Rule(
        name="rmsprop",
        states=("squares",),
        numbers=Numbers,
        on_host=on_host,
        on_gpu="""
            squares = add_rn(mul_rn(squares, alpha), mul_rn(mul_rn(g, g), rest));
            w = sub_rn(w, mul_rn(div_rn(g, add_rn(sqrt_rn(squares), epsilon)), rate));
        """,
    )

    def numbers(self, rate: float, epoch: float, step: int) -> Numbers:
        return Numbers(alpha=ALPHA, rest=1.0 - ALPHA, epsilon=EPSILON, rate=rate)
