"""GoogLeNet (Szegedy et al. 2014, "Going deeper with convolutions", arXiv:1409.4842, table 1).

The paper does not say how weights begin (here: He's variance, biases zero), nor the constants of
the response normalisation (here: those of Krizhevsky et al. 2012, which Chainer's example uses).
"""

from __future__ import annotations

from typing import Any, Optional, Tuple

import chainer
import chainer.functions as F

from trainer.layers.convolution import Convolution2D
from trainer.layers.draws import Draws
from trainer.layers.linear import Linear
from trainer.layers.lrn import local_response_normalization
from trainer.layers.pooling import average_pooling_2d, global_average, max_pooling_2d
from trainer.models.auxiliary import AuxiliaryClassifier


class Inception(chainer.Chain):  # type: ignore[misc]
    """Figure 2 (b): outputs of the 1x1, 3x3, 5x5 and pooled branches one after another.

    The widths are in the order of the columns of table 1.
    """

    def __init__(
        self, channels: int, one: int, reduce3: int, three: int, reduce5: int, five: int, pool: int
    ) -> None:
        super().__init__()
        with self.init_scope():
            self.one = Convolution2D(channels, one, 1)
            self.reduce3 = Convolution2D(channels, reduce3, 1)
            self.three = Convolution2D(reduce3, three, 3, pad=1)
            self.reduce5 = Convolution2D(channels, reduce5, 1)
            self.five = Convolution2D(reduce5, five, 5, pad=2)
            self.pool = Convolution2D(channels, pool, 1)

    def forward(self, x: Any) -> chainer.Variable:
        branches = (
            self.one(x, relu=True),
            self.three(self.reduce3(x, relu=True), relu=True),
            self.five(self.reduce5(x, relu=True), relu=True),
            self.pool(max_pooling_2d(x, 3, 1, pad=1), relu=True),
        )
        return F.concat(branches, axis=1)


class Auxiliary(chainer.Chain):  # type: ignore[misc]
    """An auxiliary classifier on (N, channels, 14, 14); 70 % of its hidden units are dropped."""

    def __init__(self, channels: int, nclasses: int) -> None:
        super().__init__()
        with self.init_scope():
            self.conv = Convolution2D(channels, 128, 1)
            self.hidden = Linear(128 * 4 * 4, 1024)
            self.out = Linear(1024, nclasses)

    def forward(self, x: Any, draws: Draws, layer: str) -> chainer.Variable:
        x = F.relu(self.hidden(self.conv(average_pooling_2d(x, 5, 3), relu=True)))
        return self.out(draws.dropout(x, 0.7, layer))


class GoogLeNet(AuxiliaryClassifier):
    """side 224"""

    def __init__(self, nclasses: int) -> None:
        super().__init__()
        with self.init_scope():
            self.conv1 = Convolution2D(3, 64, 7, stride=2, pad=3)
            self.reduce2 = Convolution2D(64, 64, 1)
            self.conv2 = Convolution2D(64, 192, 3, pad=1)
            self.inc3a = Inception(192, 64, 96, 128, 16, 32, 32)
            self.inc3b = Inception(256, 128, 128, 192, 32, 96, 64)
            self.inc4a = Inception(480, 192, 96, 208, 16, 48, 64)
            self.inc4b = Inception(512, 160, 112, 224, 24, 64, 64)
            self.inc4c = Inception(512, 128, 128, 256, 24, 64, 64)
            self.inc4d = Inception(512, 112, 144, 288, 32, 64, 64)
            self.inc4e = Inception(528, 256, 160, 320, 32, 128, 128)
            self.inc5a = Inception(832, 256, 160, 320, 32, 128, 128)
            self.inc5b = Inception(832, 384, 192, 384, 48, 128, 128)
            self.out = Linear(1024, nclasses)
            self.head1 = Auxiliary(512, nclasses)
            self.head2 = Auxiliary(528, nclasses)

    def all_scores(self, x: Any, draws: Optional[Draws]) -> Tuple[chainer.Variable, ...]:
        x = local_response_normalization(max_pooling_2d(self.conv1(x, relu=True), 3, 2))
        x = self.conv2(self.reduce2(x, relu=True), relu=True)
        x = max_pooling_2d(local_response_normalization(x), 3, 2)
        x = max_pooling_2d(self.inc3b(self.inc3a(x)), 3, 2)
        early = self.inc4a(x)
        late = self.inc4d(self.inc4c(self.inc4b(early)))
        x = self.inc5a(max_pooling_2d(self.inc4e(late), 3, 2))
        x = global_average(self.inc5b(x))
        if draws is None:
            return (self.out(x),)
        scores = self.out(draws.dropout(x, 0.4, "out"))
        return self.head1(early, draws, "head1"), self.head2(late, draws, "head2"), scores
