"""A convolution followed by batch normalisation (Ioffe, Szegedy 2015, arXiv:1502.03167)."""

from __future__ import annotations

from typing import Any

import chainer
import chainer.links as L

from trainer.models.convolution import Convolution2D

#: How much of the running statistics a step keeps, and what is added to variances: Chainer's
#: numbers, for the paper names none.
DECAY = 0.9
EPS = 2e-5


class NormalizedConvolution(chainer.Chain):  # type: ignore[misc]
    """No biases before the normalisation: it takes them away again (section 3.2).

    In training it normalises by the batch of this rank, and the running statistics follow; in
    evaluation it normalises by them (trainer.statistics).
    """

    def __init__(
        self, channels: int, outputs: int, kernel: int, stride: int = 1, pad: int = 0
    ) -> None:
        super().__init__()
        with self.init_scope():
            self.conv = Convolution2D(channels, outputs, kernel, stride, pad, bias=None)
            self.norm = L.BatchNormalization(outputs, decay=DECAY, eps=EPS)

    def forward(self, x: Any) -> chainer.Variable:
        return self.norm(self.conv(x))
