"""Learning rates: pure functions of the fractional epoch."""

from __future__ import annotations

import math

from manifests.schema import Optimizer


def learning_rate(settings: Optimizer, epoch: float) -> float:
    """Step decay after a linear warm-up (Goyal et al. 2017, section 2.2).

    lr * factor ** floor(epoch / decay_epochs), times epoch / warmup_epochs while that is below 1.
    """
    rate = settings.lr
    # Repeated products instead of pow(), whose last bit differs between C libraries and CPUs.
    for _ in range(math.floor(epoch / settings.lr_decay_epochs)):
        rate *= settings.lr_decay_factor
    if epoch < settings.warmup_epochs:
        rate *= epoch / settings.warmup_epochs
    return rate
