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
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import resource_tracker
from typing import Dict

from trainer.iterators.pool import Floats, Pool, load_part, open_sets
from trainer.loadtypes import Samples
from trainer.sampleset import Part, SampleSet
from trainer.table import SampleTable
from trainer.trouble import TrainerError

_sets: Dict[str, Samples] = {}


def _begin(loadtype: str, sets: Dict[str, SampleSet]) -> None:
    # The terminal's Ctrl-C is for the training process, which then closes the pool.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _sets.update(open_sets(loadtype, sets))


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

    def __init__(self, future: Future[Floats], part: Part, sets: Dict[str, SampleSet]) -> None:
        self._future = future
        self._part = part
        self._sets = sets

    def result(self) -> Floats:
        try:
            return self._future.result()
        except BrokenProcessPool as error:
            table = SampleTable(self._sets[self._part.set_name].table)
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
        self._described = sets
        _start_tracker()
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        self._executor = ProcessPoolExecutor(
            workers, mp_context=context, initializer=_begin, initargs=(loadtype, sets)
        )
        self._executor.submit(_ready).result()

    def submit(self, part: Part) -> _Loading:
        try:
            future = self._executor.submit(_load, part)
        except BrokenProcessPool as error:
            future = Future()
            future.set_exception(error)
        return _Loading(future, part, self._described)

    def close(self) -> None:
        self._executor.shutdown(cancel_futures=True)
