"""``thread``: threads of the training process load; Pillow decodes without the interpreter lock."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Dict

from trainer.iterators.pool import Floats, Pool, load_part, open_sets
from trainer.sampleset import Part, SampleSet


class ThreadPool(Pool):
    def __init__(self, loadtype: str, sets: Dict[str, SampleSet], workers: int) -> None:
        super().__init__(loadtype, sets, workers)
        self._sets = open_sets(loadtype, sets)
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="loader")

    def submit(self, part: Part) -> Future[Floats]:
        return self._executor.submit(load_part, self._sets, part)

    def close(self) -> None:
        self._executor.shutdown(cancel_futures=True)
