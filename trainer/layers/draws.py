"""The random choices of one training batch, handed to the network instead of a global state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

import chainer
import chainer.functions as F
import numpy as np

from trainer.layers.cudnn import on_gpu
from trainer.order import StreamPosition
from trainer.randomness import dropout_mask


@dataclass(frozen=True)
class Draws:
    seed: int
    slots: Sequence[StreamPosition]

    def dropout(self, x: chainer.Variable, ratio: float, layer: str) -> chainer.Variable:
        mask = dropout_mask(
            self.seed,
            layer,
            ratio,
            [slot.epoch for slot in self.slots],
            [slot.sample for slot in self.slots],
            x.shape[1:],
        )
        if on_gpu(x):
            # Drawn on the host: the units that a CPU run drops.
            mask = chainer.backend.get_array_module(x).asarray(np.ascontiguousarray(mask, x.dtype))
        # With a mask Chainer multiplies by it and scales nothing: the mask holds the scale.
        return F.dropout(x, ratio, mask=mask)
