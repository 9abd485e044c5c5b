"""Batches of a run: which samples, loaded by whom, with which labels."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, Deque, Iterator, List, Optional, Sequence, Tuple

import numpy as np
import numpy.typing as npt

from trainer.order import SampleOrder, StreamPosition, validation_share
from trainer.prefetch import Prefetcher
from trainer.sampleset import Part
from trainer.table import SampleTable


@dataclass(frozen=True)
class Batch:
    """Both NumPy's, or on a GPU both CuPy's."""

    images: npt.NDArray[np.float32]  # (n, 3, side, side)
    labels: npt.NDArray[np.int32]  # (n,)


@dataclass(frozen=True)
class TrainingBatch(Batch):
    slots: List[StreamPosition]


@dataclass(frozen=True)
class Data:
    order: SampleOrder
    prefetcher: Prefetcher
    train: SampleTable
    val: SampleTable
    nclasses: int
    val_batchsize: int

    def training(
        self, ranks: Sequence[int], first: int = 0, last: Optional[int] = None
    ) -> Iterator[TrainingBatch]:
        """The batches of these ranks, one of each in turn at every step, from step ``first``
        (counted from 0) on, as long as the step is below ``last`` (None: to the end of the run).

        All come from one source: on a GPU two would copy into the same staging buffers.
        """
        work = (
            _training_part(self.order.batch(step, rank))
            for step in range(first, self.order.steps if last is None else last)
            for rank in ranks
        )
        for part, images, labels in self.prefetcher.batches(work, self._labels):
            slots = [StreamPosition(*slot) for slot in zip(part.indices, part.epochs or ())]
            yield TrainingBatch(images, labels, slots)

    def validation(self, hosted: Sequence[int], ranks: int) -> Iterator[Tuple[int, Batch]]:
        """The shares of the ranks ``hosted``, one rank after another, each batch with its rank.

        A rank's last batch may be smaller, and there may be none.
        """
        begun: Deque[int] = deque()

        def work() -> Iterator[Part]:
            for rank in hosted:
                share = validation_share(len(self.val), rank, ranks)
                for start in range(0, len(share), self.val_batchsize):
                    begun.append(rank)
                    yield Part("val", tuple(share[start : start + self.val_batchsize]), None)

        for _, images, labels in self.prefetcher.batches(work(), self._labels):
            yield begun.popleft(), Batch(images, labels)

    def _labels(self, part: Part) -> npt.NDArray[Any]:
        table = self.train if part.set_name == "train" else self.val
        return table.labels(part.indices, self.nclasses)


def _training_part(slots: List[StreamPosition]) -> Part:
    indices, epochs = zip(*slots)
    return Part("train", indices, epochs)
