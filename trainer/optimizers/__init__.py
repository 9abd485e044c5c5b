"""Update rules, by the name of the key ``optimizer``."""

from __future__ import annotations

from typing import Callable, Dict, Protocol

import chainer

from manifests import schema
from trainer.optimizers.adam import Adam
from trainer.optimizers.momentum_sgd import MomentumSGD
from trainer.optimizers.rmsprop import RMSprop
from trainer.optimizers.rmsprop_warmup import RMSpropWarmup


class Optimizer(Protocol):
    def update(self, rate: float, epoch: float) -> None:
        """Change the parameters by their (reduced) gradients, in place.

        ``rate`` is the learning rate, ``epoch`` the fractional epoch that it belongs to.
        """


OPTIMIZERS: Dict[str, Callable[[chainer.Link, schema.Optimizer], Optimizer]] = {
    "momentum_sgd": MomentumSGD,
    "adam": Adam,
    "rmsprop": RMSprop,
    "rmsprop_warmup": RMSpropWarmup,
}
