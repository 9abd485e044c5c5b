"""The networks, by the name of the key ``arch``."""

from __future__ import annotations

from typing import Callable, Dict

import chainer

from trainer.models.nin import NIN

#: nclasses -> network; called with (batch, Draws or None) it returns scores (N, nclasses).
MODELS: Dict[str, Callable[[int], chainer.Chain]] = {"nin": NIN}
