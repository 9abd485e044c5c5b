"""The training loop: batch, gradients, reduction, update, records."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Optional

import chainer

from manifests import schema
from trainer.communicators import Communicator
from trainer.data import Data, TrainingBatch
from trainer.evaluation import count_correct, evaluate
from trainer.log import Log, Row
from trainer.models.classifier import Classifier
from trainer.models.draws import Draws
from trainer.optimizers import Optimizer
from trainer.progress import Progress
from trainer.schedules import learning_rate
from trainer.trail import Trail
from trainer.trouble import TrainerError, at_step
from trainer.world import World


@dataclass(frozen=True)
class Learner:
    """The parts that change or read parameters."""

    model: Classifier
    optimizer: Optimizer
    communicator: Communicator
    schedule: schema.Optimizer


@dataclass(frozen=True)
class Records:
    """The parts that write down; rank 0 alone has a ``progress``."""

    trail: Trail
    log: Log
    progress: Optional[Progress]


def train(world: World, data: Data, learner: Learner, records: Records, every_step: bool) -> Row:
    """Run all steps; return the last row of the log.

    Evaluates at the end of each epoch, or after each step if ``every_step``.
    """
    order = data.order
    row: Row = {}
    records.trail.begin(learner.model)
    begun = time.monotonic()
    batches = data.training(world.rank)
    for step in range(order.steps):
        with at_step(step + 1):
            batch = next(batches)
            midway = order.epoch_midway(step)
            rate = learning_rate(learner.schedule, midway, order.per_step)
            epoch = order.epoch_after(step)

            loss, correct = gradients(learner.model, batch, order.seed)
            learner.communicator.average_gradients(learner.model)
            reduced = records.trail.gradients(step + 1, learner.model)
            learner.optimizer.update(rate, midway, step + 1)

            records.trail.step(step + 1, epoch, batch.slots, loss, reduced, learner.model)
            check_finite(loss, world.rank, step + 1)
            records.log.add(loss, correct, len(batch.labels), time.monotonic() - begun)
            if records.progress is not None:
                records.progress.step(step + 1, epoch, loss)
            if every_step or order.ends_epoch(step):
                validation = evaluate(learner.model, data, world)
                if records.progress is not None:
                    records.progress.pause()
                row = records.log.row(math.floor(epoch), step + 1, rate, validation)
            begun = time.monotonic()
    return row


def gradients(model: Classifier, batch: TrainingBatch, seed: int) -> tuple[float, int]:
    """Set the gradients of this rank's batch; return its mean loss and its correct answers."""
    model.cleargrads()
    with chainer.using_config("train", True):
        loss, scores = model.loss(batch.images, batch.labels, Draws(seed, batch.slots))
        loss.backward()
    return float(loss.array), count_correct(scores.array, batch.labels)


def check_finite(loss: float, rank: int, step: int) -> None:
    if not math.isfinite(loss):
        raise TrainerError(
            f"the loss is {loss} on rank {rank} at step {step}: training diverged",
            "submit a new run with a smaller lr or a longer warm-up",
        )
