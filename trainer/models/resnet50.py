"""ResNet-50 (He, Zhang, Ren, Sun 2015, arXiv:1512.03385, table 1).

A stage halves its image in the first 1x1 convolution of its first block, as in the paper's own
model and in Chainer's; torchvision halves in the 3x3 convolution ("version 1.5"), which has the
same parameters. Dropout is not used (section 3.4).
"""

from __future__ import annotations

from typing import Any, Optional

import chainer

from trainer.layers.draws import Draws
from trainer.layers.linear import Linear
from trainer.layers.normalized import NormalizedConvolution
from trainer.layers.pooling import global_average, max_pooling_2d
from trainer.models.classifier import Classifier


class Bottleneck(chainer.Chain):  # type: ignore[misc]
    """Figure 5, right; the shortcut is a projection where the shape changes (option B)."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * width
        with self.init_scope():
            self.reduce = NormalizedConvolution(channels, width, 1, stride)
            self.three = NormalizedConvolution(width, width, 3, pad=1)
            self.expand = NormalizedConvolution(width, outputs, 1)
            self.shortcut = (
                None if channels == outputs else NormalizedConvolution(channels, outputs, 1, stride)
            )

    def forward(self, x: Any) -> chainer.Variable:
        shortcut = x if self.shortcut is None else self.shortcut(x)
        y = self.three(self.reduce(x, relu=True), relu=True)
        return self.expand(y, relu=True, shortcut=shortcut)


class Stage(chainer.ChainList):  # type: ignore[misc]
    def __init__(self, channels: int, width: int, blocks: int, stride: int) -> None:
        first = Bottleneck(channels, width, stride)
        super().__init__(first, *(Bottleneck(4 * width, width, 1) for _ in range(blocks - 1)))

    def forward(self, x: Any) -> chainer.Variable:
        for block in self:
            x = block(x)
        return x


class ResNet50(Classifier):
    """side 224"""

    def __init__(self, nclasses: int) -> None:
        super().__init__()
        with self.init_scope():
            self.conv1 = NormalizedConvolution(3, 64, 7, stride=2, pad=3)
            self.stage2 = Stage(64, 64, blocks=3, stride=1)
            self.stage3 = Stage(256, 128, blocks=4, stride=2)
            self.stage4 = Stage(512, 256, blocks=6, stride=2)
            self.stage5 = Stage(1024, 512, blocks=3, stride=2)
            self.out = Linear(2048, nclasses)

    def forward(self, x: Any, draws: Optional[Draws] = None) -> chainer.Variable:
        x = max_pooling_2d(self.conv1(x, relu=True), 3, 2)
        for stage in (self.stage2, self.stage3, self.stage4, self.stage5):
            x = stage(x)
        return self.out(global_average(x))
