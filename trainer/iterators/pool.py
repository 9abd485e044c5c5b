"""What the iterator kinds have in common: batches are loaded in parts and come out in order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from typing import Any, Deque, Dict, Iterable, Iterator, List, Protocol, Tuple

import numpy as np
import numpy.typing as npt

from trainer.iterators.leases import Form
from trainer.loadtypes import LOADTYPES, Checked, Samples
from trainer.sampleset import Part, SampleSet
from trainer.table import SampleTable

#: A batch, (n, 3, insize, insize), of its set's ``dtype``.
Images = npt.NDArray[Any]


class Pending(Protocol):
    def result(self) -> Images:
        """Wait for the whole batch; raises what loading it raised."""


class Pool(ABC):
    """Loads batches. ``ahead`` of them are in work or waiting while one is used."""

    ahead = 3

    @abstractmethod
    def __init__(self, loadtype: str, sets: Dict[str, SampleSet], workers: int) -> None:
        self.workers = workers
        self.described = sets

    @abstractmethod
    def begin(self, batch: Part) -> Pending:
        """Begin to load ``batch``."""

    @abstractmethod
    def close(self) -> None:
        """Wait for the parts in work, drop those that wait, end the workers."""

    def forget_names(self) -> None:  # noqa: B027 - most have none
        """Leave nothing that would stay when this process is killed. No other pool may be made in
        it afterwards."""

    def batches(self, work: Iterable[Part]) -> Iterator[Images]:
        """Yield each batch, strictly in the order of ``work``."""
        waiting: Deque[Pending] = deque()
        for batch in work:
            waiting.append(self.begin(batch))
            if len(waiting) > self.ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def form_of(self, batch: Part) -> Form:
        samples = self.described[batch.set_name]
        shape = (len(batch.indices), 3, samples.insize, samples.insize)
        return Form(shape, samples.dtype.str)

    def pieces(self, batch: Part) -> List[Tuple[int, Part]]:
        """The parts of a batch, one per worker, each with the place of its first sample."""
        pieces, first = [], 0
        for part in batch.split(self.workers):
            pieces.append((first, part))
            first += len(part.indices)
        return pieces


def open_sets(
    loadtype: str, sets: Dict[str, SampleSet], checked: Dict[str, Checked]
) -> Dict[str, Samples]:
    return {name: LOADTYPES[loadtype](samples, checked[name]) for name, samples in sets.items()}


def unchecked(sets: Dict[str, SampleSet]) -> Dict[str, Checked]:
    return {
        name: np.zeros(len(SampleTable(samples.table)), dtype=np.uint8)
        for name, samples in sets.items()
    }


def load_part(sets: Dict[str, Samples], part: Part, out: Images) -> None:
    """Write the samples of ``part`` into ``out``, (n, 3, insize, insize) or longer."""
    sets[part.set_name].load(part.indices, part.epochs, out)
