"""Adam (Kingma and Ba 2015, arXiv:1412.6980)."""

from __future__ import annotations

import math
from typing import Tuple

import numpy as np

from trainer.optimizers.elementwise import Array, Elementwise, Rule

#: beta_1, beta_2 and epsilon as the paper recommends them (algorithm 1).
FIRST_DECAY = 0.9
SECOND_DECAY = 0.999
EPSILON = 1e-8


def on_host(
    w: Array,
    gradient: Array,
    first: Array,
    second: Array,
    decay: np.float32,
    beta1: np.float32,
    rest1: np.float32,
    beta2: np.float32,
    rest2: np.float32,
    epsilon: np.float32,
    rate: np.float32,
) -> None:
    g = w * decay
    g += gradient
    first *= beta1
    first += g * rest1
    second *= beta2
    g *= g
    g *= rest2
    second += g
    np.sqrt(second, out=g)
    g += epsilon
    np.divide(first, g, out=g)
    g *= rate
    w -= g


RULE = Rule(
    name="adam",
    states=("first", "second"),
    numbers=("decay", "beta1", "rest1", "beta2", "rest2", "epsilon", "rate"),
    on_host=on_host,
    on_gpu="""
        const float g = add_rn(mul_rn(w, decay), gradient);
        first = add_rn(mul_rn(first, beta1), mul_rn(g, rest1));
        second = add_rn(mul_rn(second, beta2), mul_rn(mul_rn(g, g), rest2));
        const float root = add_rn(sqrt_rn(second), epsilon);
        w = sub_rn(w, mul_rn(div_rn(first, root), rate));
    """,
)


class Adam(Elementwise):
    """g += weight_decay * w;  m = b1 * m + (1 - b1) * g;  v = b2 * v + (1 - b2) * g^2;

    w -= rate * sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + epsilon);  arrays in float32; t is
    the step.

    The order of section 2's last paragraph, which Chainer has too: epsilon is added to the
    uncorrected root. Weight decay is added to every parameter's gradient, as by Chainer's hook.
    """

    rule = RULE

    def numbers(self, rate: float, epoch: float, step: int) -> Tuple[float, ...]:
        correction = math.sqrt(1.0 - power(SECOND_DECAY, step))
        return (
            self._settings.weight_decay,
            FIRST_DECAY,
            1.0 - FIRST_DECAY,
            SECOND_DECAY,
            1.0 - SECOND_DECAY,
            EPSILON,
            rate * correction / (1.0 - power(FIRST_DECAY, step)),
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
