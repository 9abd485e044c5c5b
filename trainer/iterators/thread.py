"""``thread``: threads of the training process load; Pillow decodes without the interpreter lock."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Dict, List

from trainer.iterators.leases import Leases, PrivateMemory
from trainer.iterators.pool import Images, Pool, load_part, open_sets, unchecked
from trainer.sampleset import Part, SampleSet


class _Loading:
    def __init__(self, parts: List[Future[None]], out: Images) -> None:
        self._parts = parts
        self._out = out

    def result(self) -> Images:
        for part in self._parts:
            part.result()
        return self._out


class ThreadPool(Pool):
    def __init__(self, loadtype: str, sets: Dict[str, SampleSet], workers: int) -> None:
        super().__init__(loadtype, sets, workers)
        self._sets = open_sets(loadtype, sets, unchecked(sets))
        self._leases = Leases(PrivateMemory())
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="loader")

    def begin(self, batch: Part) -> _Loading:
        _, out = self._leases.lend(self.form_of(batch))
        parts = [
            self._executor.submit(
                load_part, self._sets, part, out[first : first + len(part.indices)]
            )
            for first, part in self.pieces(batch)
        ]
        return _Loading(parts, out)

    def close(self) -> None:
        self._executor.shutdown(cancel_futures=True)
