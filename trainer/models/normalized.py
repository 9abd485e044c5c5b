"""A convolution followed by batch normalisation."""

from __future__ import annotations

from typing import Any, Optional

import chainer

from trainer.models.convolution import Convolution2D
from trainer.models.normalization import Normalization


class NormalizedConvolution(chainer.Chain):  # type: ignore[misc]
    """No biases before the normalisation: it takes them away again (Ioffe, Szegedy 2015, section
    3.2). A shortcut is added to what is normalised, before the ReLU."""

    def __init__(
        self, channels: int, outputs: int, kernel: int, stride: int = 1, pad: int = 0
    ) -> None:
        super().__init__()
        with self.init_scope():
            self.conv = Convolution2D(channels, outputs, kernel, stride, pad, bias=None)
            self.norm = Normalization(outputs)

    def forward(
        self, x: Any, relu: bool = False, shortcut: Optional[chainer.Variable] = None
    ) -> chainer.Variable:
        return self.norm(self.conv(x), relu, shortcut)
