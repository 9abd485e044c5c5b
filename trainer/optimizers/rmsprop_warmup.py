"""RMSprop that turns into momentum SGD (Akiba, Suzuki, Fukuda 2017, arXiv:1711.04325)."""

from __future__ import annotations

from typing import Dict

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


class RMSpropWarmup(Elementwise):
    """g += weight_decay * w;  m = mu2 * m + (1 - mu2) * g^2;

    d = mu1 * d - (a_sgd + a_rms / (sqrt(m) + epsilon)) * g;  w += rate * d;  all in float32.

    a_sgd = :func:`trainer.schedules.sgd_share` of the epoch, a_rms = (1 - a_sgd) * 3e-4 / rate.
    Weight decay is added to the gradient of every parameter, as by Chainer's hook.
    """

    rule = Rule(
        states=("squares", "direction"),
        numbers=("decay", "mu2", "rest", "epsilon", "rmsprop", "sgd", "mu1", "rate"),
        on_host=on_host,
    )

    def numbers(self, rate: float, epoch: float, step: int) -> Dict[str, float]:
        share = sgd_share(epoch)
        return {
            "decay": self._settings.weight_decay,
            "mu2": SQUARES_DECAY,
            "rest": 1.0 - SQUARES_DECAY,
            "epsilon": EPSILON,
            "rmsprop": (1.0 - share) * RMSPROP_RATE / rate,
            "sgd": share,
            "mu1": self._settings.momentum,
            "rate": rate,
        }
