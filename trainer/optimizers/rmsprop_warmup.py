"""RMSprop that turns into momentum SGD (Akiba, Suzuki, Fukuda 2017, arXiv:1711.04325)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from trainer.optimizers.elementwise import Array, Elementwise, Rule
from trainer.schedules import sgd_share

#: mu_2, epsilon and eta_RMSprop of the paper; mu_1 is the key ``momentum``.
MU2 = 0.99
EPSILON = 1e-8
RMSPROP_RATE = 3e-4


class Numbers(NamedTuple):
    mu1: float
    mu2: float
    rest: float
    epsilon: float
    sgd: float
    rms: float
    rate: float


def on_host(w: Array, g: Array, squares: Array, direction: Array, n: Numbers) -> None:
    squares[...] = squares * n.mu2 + g * g * n.rest
    share = n.rms / (np.sqrt(squares) + n.epsilon) + n.sgd
    direction[...] = direction * n.mu1 - share * g
    w += direction * n.rate


class RMSpropWarmup(Elementwise):
    """m = mu2 * m + (1 - mu2) * g^2;

    d = mu1 * d - (a_sgd + a_rms / (sqrt(m) + epsilon)) * g;  w += rate * d;  all in float32.

    a_sgd = :func:`trainer.schedules.sgd_share` of the epoch, a_rms = (1 - a_sgd) * 3e-4 / rate.
    """

    rule = Rule(
        name="rmsprop_warmup",
        states=("squares", "direction"),
        numbers=Numbers,
        on_host=on_host,
        on_gpu="""
            squares = add_rn(mul_rn(squares, mu2), mul_rn(mul_rn(g, g), rest));
            const float share = add_rn(div_rn(rms, add_rn(sqrt_rn(squares), epsilon)), sgd);
            direction = sub_rn(mul_rn(direction, mu1), mul_rn(share, g));
            w = add_rn(w, mul_rn(direction, rate));
        """,
    )

    def numbers(self, rate: float, epoch: float, step: int) -> Numbers:
        share = sgd_share(epoch)
        return Numbers(
            mu1=self._settings.momentum,
            mu2=MU2,
            rest=1.0 - MU2,
            epsilon=EPSILON,
            sgd=share,
            rms=(1.0 - share) * RMSPROP_RATE / rate,
            rate=rate,
        )
