"""AlexNet (Krizhevsky, Sutskever, Hinton 2012), with the two groups of the paper's figure 2.

The second, fourth and fifth convolutions see the half of the channels that lies on the same of
the paper's two GPUs. The crop is 227 pixels wide, not the 224 of the text: with 224 the first
layer would not have the 55x55 outputs of the figure.
"""

from __future__ import annotations

import math
from typing import Any, Optional, Tuple

import chainer
import chainer.functions as F
import numpy as np

from trainer.layers.convolution import Convolution2D
from trainer.layers.draws import Draws
from trainer.layers.linear import Linear
from trainer.layers.lrn import local_response_normalization
from trainer.layers.pooling import max_pooling_2d
from trainer.models.classifier import Classifier

#: The trainer divides pixels by 255; the paper does not, and its initial weights and the constants
#: of its response normalisation are made for inputs of that size.
PIXEL_SCALE = 255.0

#: Standard deviation of the initial weights (section 5).
SPREAD = 0.01


class Alex(Classifier):
    """side 227. Biases begin at 1 where section 5 says so, for early positive inputs to ReLU."""

    def __init__(self, nclasses: int) -> None:
        super().__init__()
        with self.init_scope():
            self.conv1 = Convolution2D(3, 96, 11, stride=4)
            self.conv2 = Convolution2D(96, 256, 5, pad=2, groups=2, bias=1)
            self.conv3 = Convolution2D(256, 384, 3, pad=1)
            self.conv4 = Convolution2D(384, 384, 3, pad=1, groups=2, bias=1)
            self.conv5 = Convolution2D(384, 256, 3, pad=1, groups=2, bias=1)
            self.fc6 = Linear(6 * 6 * 256, 4096, bias=1)
            self.fc7 = Linear(4096, 4096, bias=1)
            self.fc8 = Linear(4096, nclasses)

    def forward(self, x: Any, draws: Optional[Draws] = None) -> chainer.Variable:
        x = x * np.float32(PIXEL_SCALE)
        for conv in (self.conv1, self.conv2):
            x = max_pooling_2d(local_response_normalization(conv(x, relu=True)), 3, 2)
        x = self.conv4(self.conv3(x, relu=True), relu=True)
        x = max_pooling_2d(self.conv5(x, relu=True), 3, 2)
        for layer in ("fc6", "fc7"):
            x = F.relu(self[layer](x))
            if draws is not None:
                x = draws.dropout(x, 0.5, layer)
        return self.fc8(x)

    def initial_limit(self, shape: Tuple[int, ...]) -> float:
        """A uniform distribution of the paper's standard deviation."""
        return math.sqrt(3.0) * SPREAD
