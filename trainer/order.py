"""Which sample is used when: a pure function of seed, set size, batch size and number of ranks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from manifests.record.schema import steps_of
from trainer import randomness


class StreamPosition(NamedTuple):
    """One place of the stream: the sample's index in the list and the epoch it is drawn in."""

    sample: int
    epoch: int


@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, samples: int) -> npt.NDArray[np.int64]:
    return randomness.permutation(seed, epoch, samples)


@dataclass(frozen=True)
class SampleOrder:
    """The training stream is the epochs' permutations one after another.

    Step s takes positions s*B*W … (s+1)*B*W - 1, rank r its contiguous slice of B; B is
    ``batchsize``, W is ``ranks``. The last step may reach into the epoch after the last one.
    """

    seed: int
    samples: int
    batchsize: int
    ranks: int
    epochs: int

    @property
    def per_step(self) -> int:
        return self.batchsize * self.ranks

    @property
    def steps(self) -> int:
        return steps_of(self.epochs, self.samples, self.per_step)

    def at(self, position: int) -> StreamPosition:
        epoch, offset = divmod(position, self.samples)
        return StreamPosition(int(_permutation(self.seed, epoch, self.samples)[offset]), epoch)

    def batch(self, step: int, rank: int) -> list[StreamPosition]:
        """What ``rank`` takes at ``step`` (counted from 0), in order."""
        first = step * self.per_step + rank * self.batchsize
        return [self.at(position) for position in range(first, first + self.batchsize)]

    def epoch_after(self, step: int) -> float:
        """Epochs done when ``step`` is done, fractional."""
        return (step + 1) * self.per_step / self.samples

    def epoch_midway(self, step: int) -> float:
        """Fractional epoch of the middle of ``step``; schedules are evaluated here."""
        return (2 * step + 1) * self.per_step / (2 * self.samples)

    def ends_epoch(self, step: int) -> bool:
        """True if ``step`` is the first one whose end reaches a further multiple of N."""
        before = step * self.per_step // self.samples
        return (step + 1) * self.per_step // self.samples > before


def validation_share(samples: int, rank: int, ranks: int) -> range:
    """Indices that ``rank`` evaluates: every sample belongs to exactly one rank."""
    return range(rank, samples, ranks)
