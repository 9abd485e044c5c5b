"""What every network gives the trainer: scores, its training loss, its initial spread."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Optional, Tuple

import chainer

from trainer.initial import he_limit
from trainer.layers.draws import Draws
from trainer.layers.loss import cross_entropy


class Classifier(chainer.Chain):  # type: ignore[misc]
    """Called with images (N, 3, side, side) float32 it returns scores (N, nclasses).

    ``draws`` holds the random choices of a training batch; None in evaluation.
    """

    @abstractmethod
    def forward(self, x: Any, draws: Optional[Draws] = None) -> chainer.Variable:
        """The scores."""

    def loss(
        self, images: Any, labels: Any, draws: Draws
    ) -> Tuple[chainer.Variable, chainer.Variable]:
        """The mean loss of a training batch, which is what is minimised, and its scores."""
        scores = self(images, draws)
        return cross_entropy(scores, labels), scores

    def initial_limit(self, shape: Tuple[int, ...]) -> float:
        """Weights of this shape begin uniformly distributed between -limit and limit."""
        return he_limit(shape)
