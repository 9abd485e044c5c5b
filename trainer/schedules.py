"""Learning rates: pure functions of the fractional epoch."""

from __future__ import annotations

import math
from decimal import Context, Decimal
from typing import Optional

from manifests.record.schema import Optimizer

#: Akiba et al. 2017, section 3: (first epoch, factor). They trained 90 epochs.
SLOW_START = ((0.0, 0.5), (40.0, 0.075), (70.0, 0.01), (85.0, 0.001))
#: The same section: centre and period, in epochs, of the transition to SGD.
TRANSITION_CENTRE = 10.0
TRANSITION_PERIOD = 5.0
#: Samples per step that the rate of ``rmsprop_warmup`` is meant for.
SLOW_START_BATCH = 256


def learning_rate(settings: Optimizer, epoch: float, global_batch: int) -> float:
    """The rate at this epoch for steps of ``global_batch`` samples."""
    if settings.name == "rmsprop_warmup":
        return slow_start(settings, epoch, global_batch)
    return step_decay(settings, epoch, global_batch)


def step_decay(settings: Optimizer, epoch: float, global_batch: int) -> float:
    """Step decay after a linear warm-up (Goyal et al. 2017, sections 2.1 and 2.2).

    lr * factor ** floor(epoch / decay_epochs), times epoch / warmup_epochs while that is below 1.
    With ``lr_batch`` the rate is lr * global_batch / lr_batch instead of lr, and the warm-up
    starts from lr, as theirs does, instead of from 0.
    """
    rate = scaled_rate(settings.lr, settings.lr_batch, global_batch)
    start = 0.0 if settings.lr_batch is None else min(settings.lr / rate, 1.0)
    # Repeated products instead of pow(), whose last bit differs between C libraries and CPUs.
    for _ in range(math.floor(epoch / settings.lr_decay_epochs)):
        rate *= settings.lr_decay_factor
    if epoch < settings.warmup_epochs:
        rate *= start + (1.0 - start) * (epoch / settings.warmup_epochs)
    return rate


def slow_start(settings: Optimizer, epoch: float, global_batch: int) -> float:
    """lr * global_batch / 256 (or ``lr_batch``), times the factor of :data:`SLOW_START`.

    The epochs are absolute: a run of other than 90 epochs neither stretches nor shrinks them, so
    that its first epochs are those of the paper's run; a longer one stays at the last factor.
    """
    rate = scaled_rate(settings.lr, settings.lr_batch or SLOW_START_BATCH, global_batch)
    return rate * [factor for first, factor in SLOW_START if epoch >= first][-1]


def scaled_rate(lr: float, lr_batch: Optional[int], global_batch: int) -> float:
    """Linear scaling: a rate meant for ``lr_batch`` samples per step, for ``global_batch``."""
    return lr if lr_batch is None else lr * global_batch / lr_batch


def sgd_share(epoch: float) -> float:
    """Akiba et al.'s alpha_SGD: 1/2 at epoch 10, 1 from 12.5 on; continuous, smooth at 10."""
    x = (epoch - TRANSITION_CENTRE) / TRANSITION_PERIOD
    if x < 0.0:
        # decimal rounds exp() correctly; that of the C library differs between CPUs.
        return 0.5 * float(Context(prec=30).exp(Decimal(2.0 * x)))
    return min(0.5 + x, 1.0)
