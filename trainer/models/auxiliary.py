"""The training loss of networks with auxiliary classifiers (Szegedy et al. 2014, section 5)."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Optional, Tuple

import chainer

from trainer.layers.draws import Draws
from trainer.layers.loss import cross_entropy
from trainer.models.classifier import Classifier

#: Weight of each auxiliary loss.
WEIGHT = 0.3


class AuxiliaryClassifier(Classifier):
    """A network whose inner layers are classified too while it is trained, and only then."""

    def forward(self, x: Any, draws: Optional[Draws] = None) -> chainer.Variable:
        return self.all_scores(x, draws)[-1]

    @abstractmethod
    def all_scores(self, x: Any, draws: Optional[Draws]) -> Tuple[chainer.Variable, ...]:
        """The scores of the auxiliary classifiers, none without ``draws``, then the network's."""

    def loss(
        self, images: Any, labels: Any, draws: Draws
    ) -> Tuple[chainer.Variable, chainer.Variable]:
        *auxiliary, scores = self.all_scores(images, draws)
        total = cross_entropy(scores, labels)
        for each in auxiliary:
            total = total + WEIGHT * cross_entropy(each, labels)
        return total, scores
