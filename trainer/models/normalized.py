"""A convolution followed by batch normalisation (Ioffe, Szegedy 2015, arXiv:1502.03167)."""

from __future__ import annotations

from typing import Any

import chainer
import chainer.links as L

from trainer.models.convolution import Convolution2D


class NormalizedConvolution(chainer.Chain):  # type: ignore[misc]
    """No biases before the normalisation: it takes them away again (section 3.2).

    In training it normalises by the batch of this rank and moves the running statistics by a
    tenth of the way, in evaluation by the running statistics (trainer.statistics). 2e-5 is added
    to variances, as Chainer does; the paper names no number.
    """

    def __init__(
        self, channels: int, outputs: int, kernel: int, stride: int = 1, pad: int = 0
    ) -> None:
        super().__init__()
        with self.init_scope():
            self.conv = Convolution2D(channels, outputs, kernel, stride, pad, bias=None)
            self.norm = L.BatchNormalization(outputs, decay=0.9, eps=2e-5)

    def forward(self, x: Any) -> chainer.Variable:
        return self.norm(self.conv(x))
