"""GoogLeNet with batch normalisation (Ioffe, Szegedy 2015, arXiv:1502.03167, figure 5).

Widths are those of the figure's columns; its output sizes of (4c), (4d) and (4e) are smaller than
the sums of their columns (608, 608, 1056), which Caffe's and Chainer's models have too. Neither
dropout nor response normalisation (section 4.2.1). The paper is silent about the auxiliary
classifiers: as in Chainer's example they stay, normalised like the rest.
"""

from __future__ import annotations

from typing import Any, Optional, Tuple

import chainer
import chainer.functions as F
import chainer.links as L

from trainer.layers import cudnn
from trainer.layers.draws import Draws
from trainer.layers.linear import Linear
from trainer.layers.normalization import DECAY, EPS
from trainer.layers.normalized import NormalizedConvolution
from trainer.layers.pooling import average_pooling_2d, global_average, max_pooling_2d
from trainer.models.auxiliary import AuxiliaryClassifier


class NormalizedInception(chainer.Chain):  # type: ignore[misc]
    """Outputs of the 1x1, 3x3, double 3x3 and pooled branches one after another.

    The widths are in the order of the figure's columns; ``average`` pools by averages.
    """

    def __init__(
        self,
        channels: int,
        one: int,
        reduce3: int,
        three: int,
        reduce_double: int,
        double: int,
        pool: int,
        average: bool = True,
    ) -> None:
        super().__init__()
        self.average = average
        with self.init_scope():
            self.one = NormalizedConvolution(channels, one, 1)
            self.reduce3 = NormalizedConvolution(channels, reduce3, 1)
            self.three = NormalizedConvolution(reduce3, three, 3, pad=1)
            self.reduce_double = NormalizedConvolution(channels, reduce_double, 1)
            self.double1 = NormalizedConvolution(reduce_double, double, 3, pad=1)
            self.double2 = NormalizedConvolution(double, double, 3, pad=1)
            self.pool = NormalizedConvolution(channels, pool, 1)

    def forward(self, x: Any) -> chainer.Variable:
        pooled = (average_pooling_2d if self.average else max_pooling_2d)(x, 3, 1, pad=1)
        branches = (
            self.one(x, relu=True),
            self.three(self.reduce3(x, relu=True), relu=True),
            self.double2(self.double1(self.reduce_double(x, relu=True), relu=True), relu=True),
            self.pool(pooled, relu=True),
        )
        return F.concat(branches, axis=1)


class StridedInception(chainer.Chain):  # type: ignore[misc]
    """An inception of stride 2: no 1x1 branch, the maxima of the input are passed through."""

    def __init__(
        self, channels: int, reduce3: int, three: int, reduce_double: int, double: int
    ) -> None:
        super().__init__()
        with self.init_scope():
            self.reduce3 = NormalizedConvolution(channels, reduce3, 1)
            self.three = NormalizedConvolution(reduce3, three, 3, stride=2, pad=1)
            self.reduce_double = NormalizedConvolution(channels, reduce_double, 1)
            self.double1 = NormalizedConvolution(reduce_double, double, 3, pad=1)
            self.double2 = NormalizedConvolution(double, double, 3, stride=2, pad=1)

    def forward(self, x: Any) -> chainer.Variable:
        branches = (
            self.three(self.reduce3(x, relu=True), relu=True),
            self.double2(self.double1(self.reduce_double(x, relu=True), relu=True), relu=True),
            max_pooling_2d(x, 3, 2),
        )
        return F.concat(branches, axis=1)


class NormalizedAuxiliary(chainer.Chain):  # type: ignore[misc]
    """An auxiliary classifier on (N, channels, 14, 14)."""

    def __init__(self, channels: int, nclasses: int) -> None:
        super().__init__()
        with self.init_scope():
            self.conv = NormalizedConvolution(channels, 128, 1)
            self.hidden = Linear(128 * 4 * 4, 1024, bias=None)
            self.norm = L.BatchNormalization(1024, decay=DECAY, eps=EPS)
            self.out = Linear(1024, nclasses)

    def forward(self, x: Any) -> chainer.Variable:
        x = self.conv(average_pooling_2d(x, 5, 3), relu=True)
        return self.out(cudnn.normalized(self.norm, self.hidden(x), relu=True))


class GoogLeNetBN(AuxiliaryClassifier):
    """side 224"""

    def __init__(self, nclasses: int) -> None:
        super().__init__()
        with self.init_scope():
            self.conv1 = NormalizedConvolution(3, 64, 7, stride=2, pad=3)
            self.reduce2 = NormalizedConvolution(64, 64, 1)
            self.conv2 = NormalizedConvolution(64, 192, 3, pad=1)
            self.inc3a = NormalizedInception(192, 64, 64, 64, 64, 96, 32)
            self.inc3b = NormalizedInception(256, 64, 64, 96, 64, 96, 64)
            self.inc3c = StridedInception(320, 128, 160, 64, 96)
            self.inc4a = NormalizedInception(576, 224, 64, 96, 96, 128, 128)
            self.inc4b = NormalizedInception(576, 192, 96, 128, 96, 128, 128)
            self.inc4c = NormalizedInception(576, 160, 128, 160, 128, 160, 128)
            self.inc4d = NormalizedInception(608, 96, 128, 192, 160, 192, 128)
            self.inc4e = StridedInception(608, 128, 192, 192, 256)
            self.inc5a = NormalizedInception(1056, 352, 192, 320, 160, 224, 128)
            self.inc5b = NormalizedInception(1024, 352, 192, 320, 192, 224, 128, average=False)
            self.out = Linear(1024, nclasses)
            self.head1 = NormalizedAuxiliary(576, nclasses)
            self.head2 = NormalizedAuxiliary(608, nclasses)

    def all_scores(self, x: Any, draws: Optional[Draws]) -> Tuple[chainer.Variable, ...]:
        x = max_pooling_2d(self.conv1(x, relu=True), 3, 2)
        x = max_pooling_2d(self.conv2(self.reduce2(x, relu=True), relu=True), 3, 2)
        early = self.inc4a(self.inc3c(self.inc3b(self.inc3a(x))))
        late = self.inc4d(self.inc4c(self.inc4b(early)))
        x = self.inc5b(self.inc5a(self.inc4e(late)))
        scores = self.out(global_average(x))
        if draws is None:
            return (scores,)
        return self.head1(early), self.head2(late), scores
