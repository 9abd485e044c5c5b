"""RMSprop that turns into momentum SGD (Akiba, Suzuki, Fukuda 2017, arXiv:1711.04325)."""

from __future__ import annotations

from typing import Tuple

import numpy as np

from trainer.optimizers.elementwise import Array, Elementwise, Rule
from trainer.schedules import sgd_share

#: mu_2, epsilon and eta_RMSprop of the paper; mu_1 is the key ``momentum``.
SQUARES_DECAY = 0.99
EPSILON = 1e-8
RMSPROP_RATE = 3e-4


def on_host(
    w: Array,
    gradient: Array,
    squares: Array,
    direction: Array,
    decay: np.float32,
    mu2: np.float32,
    rest: np.float32,
    epsilon: np.float32,
    rmsprop: np.float32,
    sgd: np.float32,
    mu1: np.float32,
    rate: np.float32,
) -> None:
    g = w * decay
    g += gradient
    squares *= mu2
    scratch = g * g
    scratch *= rest
    squares += scratch
    np.sqrt(squares, out=scratch)
    scratch += epsilon
    np.divide(rmsprop, scratch, out=scratch)
    scratch += sgd
    scratch *= g
    direction *= mu1
    direction -= scratch
    np.multiply(direction, rate, out=scratch)
    w += scratch


RULE = Rule(
    name="rmsprop_warmup",
    states=("squares", "direction"),
    numbers=("decay", "mu2", "rest", "epsilon", "rmsprop", "sgd", "mu1", "rate"),
    on_host=on_host,
    on_gpu="""
        const float g = add_rn(mul_rn(w, decay), gradient);
        squares = add_rn(mul_rn(squares, mu2), mul_rn(mul_rn(g, g), rest));
        const float root = add_rn(sqrt_rn(squares), epsilon);
        const float share = add_rn(div_rn(rmsprop, root), sgd);
        direction = sub_rn(mul_rn(direction, mu1), mul_rn(share, g));
        w = add_rn(w, mul_rn(direction, rate));
    """,
)


class RMSpropWarmup(Elementwise):
    """g += weight_decay * w;  m = mu2 * m + (1 - mu2) * g^2;

    d = mu1 * d - (a_sgd + a_rms / (sqrt(m) + epsilon)) * g;  w += rate * d;  all in float32.

    a_sgd = :func:`trainer.schedules.sgd_share` of the epoch, a_rms = (1 - a_sgd) * 3e-4 / rate.
    Weight decay is added to the gradient of every parameter, as by Chainer's hook.
    """

    rule = RULE

    def numbers(self, rate: float, epoch: float, step: int) -> Tuple[float, ...]:
        share = sgd_share(epoch)
        return (
            self._settings.weight_decay,
            SQUARES_DECAY,
            1.0 - SQUARES_DECAY,
            EPSILON,
            (1.0 - share) * RMSPROP_RATE / rate,
            share,
            self._settings.momentum,
            rate,
        )
