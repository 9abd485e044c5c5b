"""Batches of a run: which samples, loaded by whom, with which labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterator, List

import numpy as np
import numpy.typing as npt

from trainer.iterators.pool import Pool
from trainer.order import Order, Slot, validation_share
from trainer.sampleset import Part
from trainer.table import SampleTable


@dataclass(frozen=True)
class Batch:
    images: npt.NDArray[np.float32]  # (n, 3, side, side)
    labels: npt.NDArray[np.int32]  # (n,)


@dataclass(frozen=True)
class TrainingBatch(Batch):
    slots: List[Slot]


@dataclass(frozen=True)
class Data:
    order: Order
    pool: Pool
    train: SampleTable
    val: SampleTable
    nclasses: int
    val_batchsize: int

    def training(self, rank: int, first: int = 0) -> Iterator[TrainingBatch]:
        """The batches of ``rank``, one per step, from step ``first`` (counted from 0) on."""
        steps = range(first, self.order.steps)
        work = (_training_part(self.order.batch(step, rank)) for step in steps)
        for step, images in zip(steps, self.pool.batches(work)):
            slots = self.order.batch(step, rank)
            labels = self.train.labels((slot.sample for slot in slots), self.nclasses)
            yield TrainingBatch(images, labels, slots)

    def validation(self, rank: int, ranks: int) -> Iterator[Batch]:
        """The share of ``rank``; the last batch may be smaller, and there may be none."""
        share = validation_share(len(self.val), rank, ranks)
        work = [
            Part("val", tuple(share[start : start + self.val_batchsize]), None)
            for start in range(0, len(share), self.val_batchsize)
        ]
        for part, images in zip(work, self.pool.batches(work)):
            yield Batch(images, self.val.labels(part.indices, self.nclasses))


def _training_part(slots: List[Slot]) -> Part:
    indices, epochs = zip(*slots)
    return Part("train", indices, epochs)
