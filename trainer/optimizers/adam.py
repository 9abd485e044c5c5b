"""Adam (Kingma and Ba 2015, arXiv:1412.6980)."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from trainer.optimizers.elementwise import Array, Elementwise, Rule

#: beta_1, beta_2 and epsilon as the paper recommends them (algorithm 1).
BETA1 = 0.9
BETA2 = 0.999
EPSILON = 1e-8


class Numbers(NamedTuple):
    beta1: float
    rest1: float
    beta2: float
    rest2: float
    epsilon: float
    rate: float


def on_host(w: Array, g: Array, first: Array, second: Array, n: Numbers) -> None:
    first[...] = first * n.beta1 + g * n.rest1
    second[...] = second * n.beta2 + g * g * n.rest2
    w -= first / (np.sqrt(second) + n.epsilon) * n.rate


class Adam(Elementwise):
    """m = b1 * m + (1 - b1) * g;  v = b2 * v + (1 - b2) * g^2;

    w -= rate * sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + epsilon);  arrays in float32; t is
    the step.

    The order of section 2's last paragraph, which Chainer has too: epsilon is added to the
    uncorrected root.
    """

    rule = Rule(
        name="adam",
        states=("first", "second"),
        numbers=Numbers,
        on_host=on_host,
        on_gpu="""
            first = add_rn(mul_rn(first, beta1), mul_rn(g, rest1));
            second = add_rn(mul_rn(second, beta2), mul_rn(mul_rn(g, g), rest2));
            w = sub_rn(w, mul_rn(div_rn(first, add_rn(sqrt_rn(second), epsilon)), rate));
        """,
    )

    def numbers(self, rate: float, epoch: float, step: int) -> Numbers:
        correction = math.sqrt(1.0 - power(BETA2, step))
        return Numbers(
            beta1=BETA1,
            rest1=1.0 - BETA1,
            beta2=BETA2,
            rest2=1.0 - BETA2,
            epsilon=EPSILON,
            rate=rate * correction / (1.0 - power(BETA1, step)),
        )


def power(base: float, exponent: int) -> float:
    """By squaring: exactly rounded products, unlike pow() of the C library."""
    result = 1.0
    while exponent:
        if exponent & 1:
            result *= base
        base *= base
        exponent >>= 1
    return result
