"""Loss, top-1 and top-5 accuracy over the validation set, each sample counted once."""

from __future__ import annotations

from typing import Any, Dict, NamedTuple

import chainer
import numpy as np

from trainer.data import Data
from trainer.device import CPU, Device
from trainer.layers.loss import cross_entropies
from trainer.ranks import Ranks
from trainer.statistics import averaged

#: Krizhevsky, Sutskever, Hinton 2012, section 2: the second number reported for ImageNet.
TOP = 5


class Correct(NamedTuple):
    """How many samples of a batch have their label among the first 1 and the first TOP classes."""

    top1: int
    top5: int

    def plus(self, other: Correct) -> Correct:
        return Correct(self.top1 + other.top1, self.top5 + other.top5)


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
    model: chainer.Chain, data: Data, ranks: Ranks, device: Device = CPU
) -> Dict[str, float]:
    """``loss``, ``accuracy``, ``accuracy_top5``: sums in float64, over the ranks in rank order."""
    loss, correct, samples = 0.0, Correct(0, 0), 0
    quiet = chainer.no_backprop_mode()
    with averaged(model, ranks), chainer.using_config("train", False), quiet:
        for batch in data.validation(ranks.rank, ranks.size):
            images, labels = device.images(batch.images), device.put(batch.labels)
            scores = model(images)
            each = cross_entropies(scores, labels)
            loss += float(each.sum(dtype=np.float64))
            correct = correct.plus(count_correct(scores.array, labels))
            samples += len(labels)
    total = ranks.sum(samples)
    return {
        "loss": ranks.sum(loss) / total,
        "accuracy": ranks.sum(correct.top1) / total,
        "accuracy_top5": ranks.sum(correct.top5) / total,
    }
