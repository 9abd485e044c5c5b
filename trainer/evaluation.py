"""Loss, top-1 and top-5 accuracy over the validation set, each sample counted once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, NamedTuple

import chainer
import numpy as np

from trainer.data import Data
from trainer.device import CPU, Device
from trainer.layers.loss import cross_entropies
from trainer.ranks import Ranks
from trainer.statistics import RankStatistics

#: Krizhevsky, Sutskever, Hinton 2012, section 2: the second number reported for ImageNet.
TOP = 5


class Correct(NamedTuple):
    """How many samples of a batch have their label among the first 1 and the first TOP classes."""

    top1: int
    top5: int

    def plus(self, other: Correct) -> Correct:
        return Correct(self.top1 + other.top1, self.top5 + other.top5)


@dataclass
class ValidationSums:
    """What one rank has added up over its share of the validation set."""

    loss: float = 0.0
    correct: Correct = field(default_factory=lambda: Correct(0, 0))
    samples: int = 0

    def add(self, loss: float, correct: Correct, samples: int) -> None:
        self.loss += loss
        self.correct = self.correct.plus(correct)
        self.samples += samples


def count_correct(scores: Any, labels: Any) -> Correct:
    """``scores`` (n, nclasses) float, ``labels`` (n,) int, both NumPy or both CuPy.

    Classes stand in the order of falling scores; of equal scores the lower class stands first, as
    in argmax. A label whose score is not a number is not right. With fewer than TOP classes the
    first TOP are all classes.
    """
    xp = chainer.backend.get_array_module(scores)
    classes = xp.arange(scores.shape[1])
    labels = labels[:, None]
    own = xp.take_along_axis(scores, labels, axis=1)
    # Not `scores > own`: it is false where one of them is not a number.
    ahead = ~(scores <= own) | ((scores == own) & (classes < labels))
    place = ahead.sum(axis=1)
    return Correct(int((place < 1).sum()), int((place < min(TOP, len(classes))).sum()))


def evaluate(
    model: chainer.Chain,
    statistics: RankStatistics,
    data: Data,
    ranks: Ranks,
    device: Device = CPU,
) -> Dict[str, float]:
    """``loss``, ``accuracy``, ``accuracy_top5``: sums in float64, over the ranks in rank order."""
    sums = {rank: ValidationSums() for rank in ranks.hosted}
    quiet = chainer.no_backprop_mode()
    with statistics.averaged(), chainer.using_config("train", False), quiet:
        for rank, batch in data.validation(ranks.hosted, ranks.size):
            images, labels = device.images(batch.images), device.put(batch.labels)
            scores = model(images)
            each = cross_entropies(scores, labels)
            sums[rank].add(
                float(each.sum(dtype=np.float64)),
                count_correct(scores.array, labels),
                len(labels),
            )
    own = list(sums.values())
    total = ranks.sum([one.samples for one in own])
    return {
        "loss": ranks.sum([one.loss for one in own]) / total,
        "accuracy": ranks.sum([one.correct.top1 for one in own]) / total,
        "accuracy_top5": ranks.sum([one.correct.top5 for one in own]) / total,
    }
