"""Loss and accuracy over the validation set, each sample counted once."""

from __future__ import annotations

from typing import Any, Dict

import chainer
import chainer.functions as F
import numpy as np
import numpy.typing as npt

from trainer.data import Data
from trainer.statistics import averaged
from trainer.world import World


def count_correct(scores: npt.NDArray[Any], labels: npt.NDArray[Any]) -> int:
    return int((scores.argmax(axis=1) == labels).sum())


def evaluate(model: chainer.Chain, data: Data, world: World) -> Dict[str, float]:
    """``loss`` and ``accuracy``: sums in float64, over the ranks in rank order."""
    loss, correct, samples = 0.0, 0, 0
    quiet = chainer.no_backprop_mode()
    with averaged(model, world), chainer.using_config("train", False), quiet:
        for batch in data.validation(world.rank, world.size):
            scores = model(batch.images)
            each = F.softmax_cross_entropy(scores, batch.labels, reduce="no").array
            loss += float(each.sum(dtype=np.float64))
            correct += count_correct(scores.array, batch.labels)
            samples += len(batch.labels)
    total = world.sum(samples)
    return {"loss": world.sum(loss) / total, "accuracy": world.sum(correct) / total}
