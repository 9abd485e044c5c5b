"""``serial``: the training process loads each batch itself when it needs it."""

from __future__ import annotations

from typing import Dict

from trainer.iterators.leases import Leases, PrivateMemory
from trainer.iterators.pool import Images, Pool, load_part, open_sets, unchecked
from trainer.sampleset import Part, SampleSet


class _Later:
    def __init__(self, pool: SerialPool, batch: Part) -> None:
        self._pool = pool
        self._batch = batch

    def result(self) -> Images:
        _, out = self._pool.leases.lend(self._pool.form_of(self._batch))
        load_part(self._pool.sets, self._batch, out)
        return out


class SerialPool(Pool):
    """Nothing is loaded ahead; ``workers`` is of no consequence."""

    ahead = 0

    def __init__(self, loadtype: str, sets: Dict[str, SampleSet], workers: int) -> None:
        del workers
        super().__init__(loadtype, sets, 1)
        self.sets = open_sets(loadtype, sets, unchecked(sets))
        self.leases = Leases(PrivateMemory())

    def begin(self, batch: Part) -> _Later:
        return _Later(self, batch)

    def close(self) -> None:
        self.sets.clear()
