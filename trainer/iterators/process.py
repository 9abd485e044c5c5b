"""``process``: processes of their own load.

They descend from a fork server that is started before MPI: a fork after MPI has opened an
InfiniBand device corrupts its registered memory (Open MPI FAQ, "fork support"). Loader processes
import neither mpi4py nor chainer.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Barrier
from typing import Dict, List

from trainer.iterators.pool import Floats, Pool, load_part, open_sets
from trainer.loadtypes import Samples
from trainer.sampleset import Part, SampleSet
from trainer.table import SampleTable
from trainer.trouble import TrainerError

_sets: Dict[str, Samples] = {}

#: How long loaders may take to start, and how long the executor may take to notice a dead one.
START_SECONDS = 120.0
NOTICE_SECONDS = 5.0


def _begin(loadtype: str, sets: Dict[str, SampleSet], all_there: Barrier) -> None:
    # The terminal's Ctrl-C is for the training process, which then closes the pool.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _sets.update(open_sets(loadtype, sets))
    all_there.wait(START_SECONDS)


def _end_with_parent() -> None:
    # A loader also holds the writing end of its own queue, so it never sees the queue close when
    # the training process is killed.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _start_tracker() -> None:
    """Start multiprocessing's resource tracker so that it does its work without a warning.

    When a failure ends all ranks at once, it removes the semaphores that they leave behind; its
    warning about that would stand below the message that matters.
    """
    option = "ignore:resource_tracker:UserWarning"
    sys.warnoptions.append(option)
    try:
        resource_tracker.ensure_running()
    finally:
        sys.warnoptions.remove(option)


def _ready() -> int:
    return os.getpid()


def _load(part: Part) -> Floats:
    return load_part(_sets, part)


class _Loading:
    """A part in work; explains the death of its loader by the images that it was to load."""

    def __init__(self, future: Future[Floats], part: Part, pool: ProcessPool) -> None:
        self._future = future
        self._part = part
        self._pool = pool

    def result(self) -> Floats:
        """A loader that dies while it writes its answer leaves the executor reading half of it for
        ever, so a dead loader is looked for here too."""
        try:
            while True:
                dead = self._pool.has_dead_loader()
                try:
                    return self._future.result(NOTICE_SECONDS)
                except NotYet:
                    if dead and not self._future.done():
                        raise BrokenProcessPool("a loader process died") from None
        except BrokenProcessPool as error:
            table = SampleTable(self._pool.described[self._part.set_name].table)
            first, last = self._part.indices[0], self._part.indices[-1]
            raise TrainerError(
                f"a loader process died before it delivered {table.describe(first)} "
                f"to {table.describe(last)}",
                "most often memory ran out: use a smaller loaderjob; "
                "or find the cause with `iterator: serial`",
            ) from error


class ProcessPool(Pool):
    """Make it before MPI is initialised."""

    def __init__(self, loadtype: str, sets: Dict[str, SampleSet], workers: int) -> None:
        super().__init__(loadtype, sets, workers)
        self.described = sets
        _start_tracker()
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        # All loaders start here and wait for each other: one that the executor started later, while
        # it ends the others because one died, would be waited for in vain (Python 3.11).
        all_there = context.Barrier(workers)
        self._executor = ProcessPoolExecutor(
            workers,
            mp_context=context,
            initializer=_begin,
            initargs=(loadtype, sets, all_there),
        )
        for started in [self._executor.submit(_ready) for _ in range(workers)]:
            started.result()

    def submit(self, part: Part) -> _Loading:
        try:
            future = self._executor.submit(_load, part)
        except BrokenProcessPool as error:
            future = Future()
            future.set_exception(error)
        return _Loading(future, part, self)

    def _processes(self) -> List[BaseProcess]:
        # Private, and there in the image's pinned Python: the executor offers no other way.
        return list((self._executor._processes or {}).values())

    def has_dead_loader(self) -> bool:
        return any(not process.is_alive() for process in self._processes())

    def close(self) -> None:
        if self.has_dead_loader():
            for process in self._processes():
                process.kill()
            self._executor.shutdown(wait=False, cancel_futures=True)
        else:
            self._executor.shutdown(cancel_futures=True)
