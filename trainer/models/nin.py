"""Network in Network (Lin, Chen, Yan 2013, arXiv:1312.4400), the form used for ImageNet."""

from __future__ import annotations

from typing import Any, Optional

import chainer

from trainer.layers.convolution import Convolution2D
from trainer.layers.draws import Draws
from trainer.layers.pooling import global_average, max_pooling_2d
from trainer.models.classifier import Classifier


class MlpConv(chainer.Chain):  # type: ignore[misc]
    """A convolution and two 1x1 convolutions (section 3.1 of the paper), ReLU between them."""

    def __init__(
        self, channels: int, outputs: tuple[int, int, int], kernel: int, stride: int, pad: int
    ) -> None:
        super().__init__()
        with self.init_scope():
            self.conv = Convolution2D(channels, outputs[0], kernel, stride, pad)
            self.mlp1 = Convolution2D(outputs[0], outputs[1], 1)
            self.mlp2 = Convolution2D(outputs[1], outputs[2], 1)

    def forward(self, x: Any, relu: bool = False) -> chainer.Variable:
        return self.mlp2(self.mlp1(self.conv(x, relu=True), relu=True), relu)


class NIN(Classifier):
    """side >= 67"""

    def __init__(self, nclasses: int) -> None:
        super().__init__()
        with self.init_scope():
            self.block1 = MlpConv(3, (96, 96, 96), kernel=11, stride=4, pad=0)
            self.block2 = MlpConv(96, (256, 256, 256), kernel=5, stride=1, pad=2)
            self.block3 = MlpConv(256, (384, 384, 384), kernel=3, stride=1, pad=1)
            self.block4 = MlpConv(384, (1024, 1024, nclasses), kernel=3, stride=1, pad=1)

    def forward(self, x: Any, draws: Optional[Draws] = None) -> chainer.Variable:
        for block in (self.block1, self.block2, self.block3):
            x = max_pooling_2d(block(x, relu=True), 3, 2)
        if draws is not None:
            x = draws.dropout(x, 0.5, "block4")
        return global_average(self.block4(x))
