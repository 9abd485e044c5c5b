"""``process``: processes of their own load.

They descend from a fork server that is started before MPI: a fork after MPI has opened an
InfiniBand device corrupts its registered memory (Open MPI FAQ, "fork support"). Loader processes
import neither mpi4py nor chainer. They write into memory that they share with the training
process: to send a sample through a pipe costs several times what it costs to make one.
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
from functools import partial
from multiprocessing import resource_tracker, util
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Barrier, SemLock
from typing import Dict, List, Optional, Tuple

from trainer.iterators.pool import Images, Pool, load_part, open_sets, unchecked
from trainer.iterators.shared_memory import Form, Leases, Region, SharedMemory, array_in
from trainer.loadtypes import Samples
from trainer.sampleset import Part, SampleSet
from trainer.table import SampleTable
from trainer.trouble import TrainerError

#: How long loaders may take to start, and how long the executor may take to notice a dead one.
START_SECONDS = 120.0
NOTICE_SECONDS = 5.0


class _Loader:
    """What a loader process holds; ``problem`` is why it has no sets."""

    sets: Dict[str, Samples]
    memory: SharedMemory
    problem: Optional[TrainerError] = None


def _begin(
    loadtype: str,
    sets: Dict[str, SampleSet],
    memory: SharedMemory,
    slots: Dict[str, Region],
    all_there: Barrier,
) -> None:
    # The terminal's Ctrl-C is for the training process, which then closes the pool.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _Loader.memory = memory
    try:
        # What one loader has checked need not be checked by the others.
        checked = {name: memory.bytes_of(slot) for name, slot in slots.items()}
        _Loader.sets = open_sets(loadtype, sets, checked)
    except TrainerError as error:
        _Loader.problem = error  # what is raised in here ends the process without a word
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


def _forget_semaphores() -> None:
    """Take the names of all semaphores away, which every loader has opened by now: they would stay
    in ``/dev/shm`` when all processes of a run are killed at once."""
    # Private, and there in the image's pinned Python: each runs once, at the latest at the end.
    for finalizer in list(util._finalizer_registry.values()):  # type: ignore[attr-defined]
        if finalizer._callback is SemLock._cleanup:  # type: ignore[attr-defined]
            finalizer()


def _ready() -> None:
    if _Loader.problem is not None:
        raise _Loader.problem


def _load(part: Part, slot: Region, form: Form, first: int) -> None:
    """Write ``part`` into the batch of this form in ``slot``, from its sample ``first`` on."""
    _ready()
    batch = array_in(_Loader.memory.bytes_of(slot), form)
    load_part(_Loader.sets, part, batch[first:])


def _keep(held: Images, done: Future[None]) -> None:
    """A future that will call this keeps ``held`` alive until it is done."""


class _Loading:
    """A batch in work; explains the death of a loader by the images that it was to load."""

    def __init__(
        self, parts: List[Tuple[Part, Future[None]]], out: Images, pool: ProcessPool
    ) -> None:
        self._parts = parts
        self._out = out
        self._pool = pool

    def result(self) -> Images:
        for part, future in self._parts:
            try:
                self._wait(future)
            except BrokenProcessPool as error:
                raise self._death(part) from error
        return self._out

    def _wait(self, future: Future[None]) -> None:
        """A loader that dies while it writes its answer leaves the executor reading half of it for
        ever, so a dead loader is looked for here too."""
        while True:
            dead = self._pool.has_dead_loader()
            try:
                return future.result(NOTICE_SECONDS)
            except NotYet:
                if dead and not future.done():
                    raise BrokenProcessPool("a loader process died") from None

    def _death(self, part: Part) -> TrainerError:
        table = SampleTable(self._pool.described[part.set_name].table)
        first, last = part.indices[0], part.indices[-1]
        return TrainerError(
            f"a loader process died before it delivered {table.describe(first)} "
            f"to {table.describe(last)}",
            "most often memory ran out: use a smaller loaderjob; "
            "or find the cause with `iterator: serial`",
        )


class ProcessPool(Pool):
    """Make it before MPI is initialised."""

    def __init__(self, loadtype: str, sets: Dict[str, SampleSet], workers: int) -> None:
        super().__init__(loadtype, sets, workers)
        _start_tracker()
        memory = SharedMemory.make()
        slots = {name: memory.grow(len(checked)) for name, checked in unchecked(sets).items()}
        self._leases = Leases(memory)
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        # All loaders start here and wait for each other: one that the executor started later, while
        # it ends the others because one died, would be waited for in vain (Python 3.11).
        all_there = context.Barrier(workers)
        self._executor = ProcessPoolExecutor(
            workers,
            mp_context=context,
            initializer=_begin,
            initargs=(loadtype, sets, memory, slots, all_there),
        )
        try:
            for started in [self._executor.submit(_ready) for _ in range(workers)]:
                started.result()
        except TrainerError:
            self.close()
            raise
        _forget_semaphores()

    def begin(self, batch: Part) -> _Loading:
        form = Form(self.shape_of(batch), self.dtype_of(batch).str)
        slot, out = self._leases.lend(form)
        parts = []
        for first, part in self.pieces(batch):
            try:
                future = self._executor.submit(_load, part, slot, form, first)
            except BrokenProcessPool as error:
                future = Future()
                future.set_exception(error)
            # Nobody else may get the slot while a loader writes into it, waited for or not.
            future.add_done_callback(partial(_keep, out))
            parts.append((part, future))
        return _Loading(parts, out, self)

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
