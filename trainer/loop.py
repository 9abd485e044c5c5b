"""The training loop: batch, gradients, reduction, update, records."""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Iterator, NamedTuple, Optional, Sequence

import chainer

from manifests.record import schema
from manifests.record.outcome import SeenGpus
from trainer.checkpoints import Checkpoints, Written
from trainer.communicators import Reduction
from trainer.data import Data, TrainingBatch
from trainer.device import CPU, Device
from trainer.evaluation import Correct, count_correct, evaluate
from trainer.initial import named_gradients
from trainer.layers.draws import Draws
from trainer.log import Log, Row
from trainer.loss_scale import LossScale
from trainer.models.classifier import Classifier
from trainer.optimizers import Optimizer
from trainer.order import StreamPosition
from trainer.progress import Progress
from trainer.ranks import Ranks
from trainer.schedules import learning_rate
from trainer.statistics import RankStatistics
from trainer.step_trace import StepTrace
from trainer.stopping import StopRequest, Watch
from trainer.trail import Trail
from trainer.trouble import TrainerError, at_rank, at_step


@dataclass(frozen=True)
class Updater:
    """The parts that change or read parameters; ``device`` is where these lie.

    ``statistics`` are those of this process's ranks. ``scale`` is None unless gradients are
    float16; ``gpus`` is what the ranks have of them.
    """

    device: Device
    model: Classifier
    optimizer: Optimizer
    statistics: RankStatistics
    communicator: Reduction
    schedule: schema.Optimizer
    scale: Optional[LossScale] = None
    gpus: Optional[SeenGpus] = None


@dataclass(frozen=True)
class Records:
    """The parts that write down: a trail for each rank of this process. The process of rank 0
    alone has a ``progress``."""

    trails: Sequence[Trail]
    log: Log
    progress: Optional[Progress]
    trace: Optional[StepTrace] = None


@dataclass(frozen=True)
class Safety:
    """The parts that keep a run from being lost."""

    checkpoints: Checkpoints
    watch: Watch


class RankStep(NamedTuple):
    """What one rank did in a step: the samples of its batch, their mean loss, correct answers."""

    rank: int
    slots: Sequence[StreamPosition]
    loss: float
    correct: Correct


@dataclass(frozen=True)
class TrainingEnd:
    """``row`` is the last row of the log; ``stopped`` is None when all steps are done."""

    step: int
    row: Row
    stopped: Optional[StopRequest] = None


def train(
    ranks: Ranks,
    data: Data,
    updater: Updater,
    records: Records,
    safety: Safety,
    *,
    first: int = 0,
    last: Optional[int] = None,
    every_step: bool,
) -> TrainingEnd:
    """Run the steps after the ``first`` ones until the ``last`` (None: the run's), or until the job
    has to end.

    Evaluates at the end of each epoch, or after each step if ``every_step``. A slice, whose last
    step is given, evaluates after the run's last step only, and leaves the state after its own.
    """
    order = data.order
    is_slice, last = last is not None, order.steps if last is None else last
    spent = safety.watch.spent
    row: Row = {}
    if first == 0:
        for trail in records.trails:
            trail.begin(updater.model)
    begun = time.monotonic()
    batches = data.training(ranks.hosted, first, last)
    for step in range(first, last):
        with at_step(step + 1):
            midway = order.epoch_midway(step)
            rate = learning_rate(updater.schedule, midway, order.per_step)
            epoch = order.epoch_after(step)

            factor = updater.scale.factor if updater.scale is not None else 1.0
            trace = records.trace if records.trace and records.trace.step == step + 1 else None
            if trace is not None:
                trace.before(updater.model, updater.optimizer, updater.statistics)
            done = [
                rank_step(rank, batches, updater, order.seed, factor, trace)
                for rank in ranks.hosted
            ]
            if trace is not None:
                trace.orders()
            updater.communicator.finish(updater.model)
            if updater.scale is not None:
                updater.scale.settle(list(named_gradients(updater.model).values()))
            reduced = [trail.gradients(step + 1, updater.model) for trail in records.trails]
            if trace is not None:
                trace.reduced(updater.model)
            updater.optimizer.update(rate, midway, step + 1)
            if trace is not None:
                trace.after(updater.model)

            for trail, one, digests in zip(records.trails, done, reduced):
                trail.step(step + 1, epoch, one.slots, one.loss, digests, updater.model)
            for one in done:
                with at_rank(one.rank):
                    check_finite(one.loss, one.rank, step + 1)
            seconds = time.monotonic() - begun
            spent.step = max(spent.step, seconds)
            for number, one in enumerate(done):
                records.log.add(one.loss, one.correct, len(one.slots), seconds, number)
            if records.progress is not None:
                records.progress.step(step + 1, epoch, done[0].loss)
            if is_slice and step + 1 < order.steps:
                if every_step or order.ends_epoch(step):
                    records.log.forget()
            elif every_step or order.ends_epoch(step):
                begun = time.monotonic()
                validation = evaluate(
                    updater.model, updater.statistics, data, ranks, updater.device
                )
                spent.evaluation = max(spent.evaluation or 0.0, time.monotonic() - begun)
                if records.progress is not None:
                    records.progress.pause()
                row = records.log.row(math.floor(epoch), step + 1, rate, validation)
            if step + 1 < last:
                evaluates_next = every_step or order.ends_epoch(step + 1)
                request = safety.watch.ask(step + 1, evaluates_next=evaluates_next)
                if request is not StopRequest.GO_ON:
                    save(step + 1, safety, records, needed=request > StopRequest.SAVE)
                if request > StopRequest.SAVE:
                    return TrainingEnd(step + 1, row, request)
            elif step + 1 < order.steps:
                save(step + 1, safety, records, needed=True)
            begun = time.monotonic()
    return TrainingEnd(last, row)


def save(step: int, safety: Safety, records: Records, *, needed: bool) -> None:
    """What is written already goes to the disk before the checkpoint that counts on it."""
    begun = time.monotonic()
    trails = [trail.settled() for trail in records.trails]
    written = Written(trails, records.log.sums(), records.log.settled())
    problem = safety.checkpoints.save(step, records.log.elapsed, written, needed=needed)
    safety.watch.saved(time.monotonic() - begun)
    if problem and records.progress is not None:
        records.progress.pause()
        print(f"warning: {problem}; the run goes on without this checkpoint", flush=True)


def rank_step(
    rank: int,
    batches: Iterator[TrainingBatch],
    updater: Updater,
    seed: int,
    factor: float,
    trace: Optional[StepTrace] = None,
) -> RankStep:
    """One rank's part of a step, with the next of ``batches``: its gradients go into the sum, its
    statistics move."""
    with at_rank(rank), updater.statistics.of(rank):
        batch = next(batches)
        with trace.rank(rank, updater.model, batch) if trace else nullcontext():
            loss, correct = gradients(updater.model, batch, seed, updater.device, factor)
    if trace is not None:
        trace.loss(rank, loss)
    updater.communicator.add(updater.model)
    return RankStep(rank, batch.slots, loss, correct)


def gradients(
    model: Classifier,
    batch: TrainingBatch,
    seed: int,
    device: Device = CPU,
    factor: float = 1.0,
) -> tuple[float, Correct]:
    """Set the gradients of this rank's batch, those of ``factor`` times the loss; return its mean
    loss and its correct answers."""
    images, labels = device.images(batch.images), device.put(batch.labels)
    model.cleargrads()
    with chainer.using_config("train", True):
        loss, scores = model.loss(images, labels, Draws(seed, batch.slots))
        (loss if factor == 1.0 else loss * factor).backward()
    return float(loss.array), count_correct(scores.array, labels)


def check_finite(loss: float, rank: int, step: int) -> None:
    if not math.isfinite(loss):
        raise TrainerError(
            f"the loss is {loss} on rank {rank} at step {step}: training diverged",
            "submit a new run with a smaller lr or a longer warm-up",
        )
