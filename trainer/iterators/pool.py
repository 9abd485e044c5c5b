"""What the iterator kinds have in common: parts of batches go in, arrays come out in order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from typing import Deque, Dict, Iterable, Iterator, List, Protocol

import numpy as np
import numpy.typing as npt

from trainer.loadtypes import LOADTYPES, Samples
from trainer.sampleset import Part, SampleSet

Floats = npt.NDArray[np.float32]


class Pending(Protocol):
    def result(self) -> Floats:
        """Wait for the part; raises what loading it raised."""


class Pool(ABC):
    """Loads parts of batches. ``ahead`` batches are in work or waiting while one is used."""

    ahead = 3

    @abstractmethod
    def __init__(self, loadtype: str, sets: Dict[str, SampleSet], workers: int) -> None:
        self.workers = workers

    @abstractmethod
    def submit(self, part: Part) -> Pending:
        """Begin to load ``part``."""

    @abstractmethod
    def close(self) -> None:
        """Wait for the parts in work, drop those that wait, end the workers."""

    def batches(self, work: Iterable[Part]) -> Iterator[Floats]:
        """Yield each batch as float32 (n, 3, side, side), strictly in the order of ``work``."""
        waiting: Deque[List[Pending]] = deque()
        for batch in work:
            waiting.append([self.submit(part) for part in batch.split(self.workers)])
            if len(waiting) > self.ahead:
                yield _joined(waiting.popleft())
        while waiting:
            yield _joined(waiting.popleft())


def open_sets(loadtype: str, sets: Dict[str, SampleSet]) -> Dict[str, Samples]:
    return {name: LOADTYPES[loadtype](samples) for name, samples in sets.items()}


def load_part(sets: Dict[str, Samples], part: Part) -> Floats:
    samples = sets[part.set_name]
    return np.stack([samples.load(index, epoch) for index, epoch in part.slots()])


def _joined(pending: List[Pending]) -> Floats:
    loaded = [part.result() for part in pending]
    return loaded[0] if len(loaded) == 1 else np.concatenate(loaded)
