"""Batches for a network on the CPU: as the loaders made them."""

from __future__ import annotations

from collections import deque
from typing import Any, Callable, Deque, Iterable, Iterator, Protocol, Tuple

import numpy.typing as npt

from trainer.iterators.pool import Pool
from trainer.sampleset import Part

#: Labels of a batch, int32 (n,).
LabelsOf = Callable[[Part], "npt.NDArray[Any]"]

#: float32 (n, 3, insize, insize) and int32 (n,), both NumPy's or both CuPy's.
Fed = Tuple[Part, Any, Any]


class Prefetcher(Protocol):
    def batches(self, work: Iterable[Part], labels_of: LabelsOf) -> Iterator[Fed]:
        """Yield what ``work`` asks for, strictly in its order; raises what loading it raised, when
        it is the turn of that batch."""


class HostPrefetcher:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def batches(self, work: Iterable[Part], labels_of: LabelsOf) -> Iterator[Fed]:
        for part, images in loaded(self._pool, work):
            yield part, images, labels_of(part)


def loaded(pool: Pool, work: Iterable[Part]) -> Iterator[Tuple[Part, Any]]:
    """Each part with its images."""
    begun: Deque[Part] = deque()

    def noted() -> Iterator[Part]:
        for part in work:
            begun.append(part)
            yield part

    for images in pool.batches(noted()):
        yield begun.popleft(), images
