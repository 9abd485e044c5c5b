"""``serial``: the training process loads each batch itself when it needs it."""

from __future__ import annotations

from typing import Dict

from trainer.iterators.pool import Floats, Pool, load_part, open_sets
from trainer.loadtypes import Samples
from trainer.sampleset import Part, SampleSet


class _Later:
    def __init__(self, sets: Dict[str, Samples], part: Part) -> None:
        self._sets = sets
        self._part = part

    def result(self) -> Floats:
        return load_part(self._sets, self._part)


class SerialPool(Pool):
    """Nothing is loaded ahead; ``workers`` is of no consequence."""

    ahead = 0

    def __init__(self, loadtype: str, sets: Dict[str, SampleSet], workers: int) -> None:
        del workers
        super().__init__(loadtype, sets, 1)
        self._sets = open_sets(loadtype, sets)

    def submit(self, part: Part) -> _Later:
        return _Later(self._sets, part)

    def close(self) -> None:
        self._sets.clear()
