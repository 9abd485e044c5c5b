"""``process``: processes of their own load.

They descend from a fork server that is started before MPI: a fork after MPI has opened an
InfiniBand device corrupts its registered memory (Open MPI FAQ, "fork support"). Loader processes
import neither mpi4py nor chainer. They write into memory that they share with the training
process: to send a sample through a pipe costs several times what it costs to make one.
"""

from __future__ import annotations

import atexit
import multiprocessing
import shutil
import signal
import time
import traceback
from collections import deque
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext
from multiprocessing.util import get_temp_dir
from pathlib import Path
from typing import Deque, Dict, List, NamedTuple, Optional

from trainer.iterators.leases import Form, Leases, Region, array_in
from trainer.iterators.pool import Images, Pool, load_part, open_sets, unchecked
from trainer.iterators.shared_memory import SharedMemory
from trainer.loadtypes import Samples
from trainer.sampleset import Part, SampleSet
from trainer.table import SampleTable
from trainer.trouble import TrainerError, named

#: How long loaders may take to start, and to end when they are asked to.
START_SECONDS = 120.0
END_SECONDS = 10.0

WHY_LOADERS_DIE = (
    "most often memory ran out: use a smaller loaderjob; or find the cause with `iterator: serial`"
)


class LoaderFault(Exception):
    """What a loader raised that is not a TrainerError; its traceback is the cause."""


class _Traceback(Exception):
    """The text of a traceback in another process."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class _Work(NamedTuple):
    """Write ``part`` into the batch of this form in ``slot``, from its sample ``first`` on."""

    part: Part
    slot: Region
    form: Form
    first: int


class _Answer(NamedTuple):
    """``problem`` is for the user; ``fault`` and ``trace`` are the trainer's own."""

    problem: Optional[TrainerError] = None
    fault: str = ""
    trace: str = ""

    def check(self) -> None:
        """Raise what the loader raised."""
        if self.problem is not None:
            raise self.problem
        if self.fault:
            raise LoaderFault(self.fault) from _Traceback(self.trace)


def _answer_of(error: BaseException) -> _Answer:
    if isinstance(error, TrainerError):
        return _Answer(error)
    return _Answer(fault=named(error), trace="".join(traceback.format_exception(error)))


# --- in the loader --------------------------------------------------------------------------


def _serve(
    asked: Connection,
    loadtype: str,
    sets: Dict[str, SampleSet],
    memory: SharedMemory,
    slots: Dict[str, Region],
) -> None:
    """Load what is asked for until nobody asks any more: the pool was closed, or its process is
    gone, whatever ended it."""
    # The terminal's Ctrl-C is for the training process, which then ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(EOFError, OSError):
        try:
            # What one loader has checked need not be checked by the others.
            checked = {name: memory.bytes_of(slot) for name, slot in slots.items()}
            samples = open_sets(loadtype, sets, checked)
        except BaseException as error:
            asked.send(_answer_of(error))
            return
        asked.send(_Answer())
        while True:
            work = asked.recv()
            asked.send(_load(samples, memory, work))


def _load(samples: Dict[str, Samples], memory: SharedMemory, work: _Work) -> _Answer:
    try:
        batch = array_in(memory.bytes_of(work.slot), work.form)
        load_part(samples, work.part, batch[work.first :])
    # Also an exit: the training process gets it, and decides.
    except BaseException as error:
        return _answer_of(error)
    return _Answer()


# --- in the training process ----------------------------------------------------------------


class _Task:
    """A part in work. It holds the batch: nobody else may get the slot while a loader writes into
    it, waited for or not."""

    def __init__(self, part: Part, out: Images) -> None:
        self.part = part
        self.out = out
        self.answer: Optional[_Answer] = None


class _Loader:
    """One loader process; it answers in the order in which it is asked."""

    def __init__(self, context: ForkServerContext, *arguments: object) -> None:
        self.asking, asked = context.Pipe()
        self.process = context.Process(target=_serve, args=(asked, *arguments), daemon=True)
        self.process.start()
        asked.close()  # now the loader alone has it: its death can be read from our end
        self._in_work: Deque[_Task] = deque()
        self.is_dead = False

    @property
    def waiting(self) -> int:
        """How many parts it has been asked for and has not delivered."""
        return len(self._in_work)

    @property
    def oldest(self) -> Optional[_Task]:
        return self._in_work[0] if self._in_work else None

    def ask(self, task: _Task, work: _Work) -> None:
        self._in_work.append(task)
        try:
            self.asking.send(work)
        except OSError:
            self.is_dead = True

    def hear(self) -> None:
        """Take the answers that have come, and notice the loader's end."""
        try:
            while self._in_work and self.asking.poll():
                self._in_work[0].answer = self.asking.recv()
                self._in_work.popleft()
        except (EOFError, OSError):
            self.is_dead = True

    def started(self, limit: float) -> None:
        """Wait for the loader's first word. Raises what it raised, and TrainerError when it died
        or has not started at the time ``limit``."""
        try:
            if not self.asking.poll(max(0.0, limit - time.monotonic())):
                raise TrainerError(
                    f"a loader process did not start within {START_SECONDS:g} s",
                    "look after the node and the file system of the data, then start the run again",
                )
            answer = self.asking.recv()
        except (EOFError, OSError):
            raise TrainerError("a loader process died as it started", WHY_LOADERS_DIE) from None
        answer.check()

    def end(self, limit: float) -> None:
        self.asking.close()
        self.process.join(max(0.0, limit - time.monotonic()))
        self.process.kill()
        self.process.join()


class _Loading:
    """A batch in work."""

    def __init__(self, tasks: List[_Task], out: Images, pool: ProcessPool) -> None:
        self._tasks = tasks
        self._out = out
        self._pool = pool

    def result(self) -> Images:
        self._pool.hear(0.0)  # a loader that died is noticed though it owes nothing to this batch
        for task in self._tasks:
            while task.answer is None:
                self._pool.hear(None)
            task.answer.check()
        return self._out


class ProcessPool(Pool):
    """Make it before MPI is initialised. For one thread at a time.

    Each part of a batch goes to the loader that has the least to do, by a pipe of its own: one that
    is killed at any moment holds no lock that another waits for.
    """

    def __init__(self, loadtype: str, sets: Dict[str, SampleSet], workers: int) -> None:
        super().__init__(loadtype, sets, workers)
        memory = SharedMemory.make()
        slots = {name: memory.grow(len(checked)) for name, checked in unchecked(sets).items()}
        self._leases = Leases(memory)
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        self._loaders = [_Loader(context, loadtype, sets, memory, slots) for _ in range(workers)]
        limit = time.monotonic() + START_SECONDS
        try:
            for loader in self._loaders:
                loader.started(limit)
        except BaseException:
            self.close()
            raise

    @property
    def pids(self) -> List[int]:
        """Of the loaders."""
        return [loader.process.pid for loader in self._loaders if loader.process.pid is not None]

    def forget_names(self) -> None:
        # The socket of the fork server, by which all loaders have been started by now.
        folder = Path(get_temp_dir())
        shutil.rmtree(folder, ignore_errors=True)
        # At a normal exit multiprocessing removes the folder, and complains where there is none.
        atexit.register(folder.mkdir, mode=0o700, exist_ok=True)

    def begin(self, batch: Part) -> _Loading:
        for loader in self._loaders:
            loader.hear()
        form = self.form_of(batch)
        slot, out = self._leases.lend(form)
        tasks = []
        for first, part in self.pieces(batch):
            loader = min(self._loaders, key=lambda loader: loader.waiting)
            task = _Task(part, out)
            loader.ask(task, _Work(part, slot, form, first))
            tasks.append(task)
        return _Loading(tasks, out, self)

    def hear(self, timeout: Optional[float]) -> None:
        """Wait until a loader has answered; None is for ever. Raises TrainerError when one died."""
        wait([w for x in self._loaders for w in (x.asking, x.process.sentinel)], timeout)
        for loader in self._loaders:
            loader.hear()
        for loader in self._loaders:
            if loader.is_dead or not loader.process.is_alive():
                raise self._death(loader)

    def _death(self, loader: _Loader) -> TrainerError:
        loader.hear()
        task = loader.oldest
        if task is None:
            return TrainerError("a loader process died", WHY_LOADERS_DIE)
        table = SampleTable(self.described[task.part.set_name].table)
        ends = dict.fromkeys((task.part.indices[0], task.part.indices[-1]))
        images = " to ".join(map(table.describe, ends))
        return TrainerError(f"a loader process died before it delivered {images}", WHY_LOADERS_DIE)

    def close(self) -> None:
        limit = time.monotonic() + END_SECONDS
        for loader in self._loaders:
            loader.asking.close()
        for loader in self._loaders:
            loader.end(limit)
