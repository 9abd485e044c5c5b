"""Update rules, by the name of the key ``optimizer``."""

from __future__ import annotations

from typing import Callable, Dict, Protocol

import chainer

from manifests import schema
from trainer.optimizers.momentum_sgd import MomentumSGD


class Optimizer(Protocol):
    def update(self, rate: float) -> None:
        """Change the parameters by their (reduced) gradients, in place, at this learning rate."""


OPTIMIZERS: Dict[str, Callable[[chainer.Link, schema.Optimizer], Optimizer]] = {
    "momentum_sgd": MomentumSGD
}
