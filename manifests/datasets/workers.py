"""Processes that share long work: results in order, dead workers noticed, none left behind.

For work that computes much per file. Decoding lets go of the interpreter lock, but the Python code
around it takes a twentieth of an image's time, so that threads cannot use more than twenty cores.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from collections import deque
from typing import TYPE_CHECKING, Callable, Deque, Generator, Iterable, Optional, TypeVar

from container.trouble import Trouble

if TYPE_CHECKING:
    from concurrent.futures import Future, ProcessPoolExecutor

Item = TypeVar("Item")
Value = TypeVar("Value")

#: Items under way or finished per worker, so that a slow one does not hold up the others.
_AHEAD = 4

#: Python starts a process that warns, with a path of Python's own, when the main one is killed.
_SILENT = "ignore::UserWarning:multiprocessing.resource_tracker"


def allowed_cores() -> int:
    """Cores that this process may use; a batch system often grants fewer than the machine has."""
    return len(os.sched_getaffinity(0))


def _end_with_parent() -> None:
    import multiprocessing

    # A worker also holds the writing end of its own queue, so it never sees the queue close when
    # the main process is killed.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _begin() -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # What a worker finds it returns; a library's warnings would only tear the progress line.
    warnings.simplefilter("ignore")


def _submit(
    executor: ProcessPoolExecutor, act: Callable[[Item], Value], item: Item
) -> Future[Value]:
    # Workers are started in here and inherit the mask: the terminal's Ctrl-C is for the main
    # process, which then lets them finish what they hold.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        return executor.submit(act, item)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def spread(
    act: Callable[[Item], Value], items: Iterable[Item], *, workers: Optional[int] = None
) -> Generator[Value, None, None]:
    """Yield ``act(item)`` for each item, in order; ``act`` and the items must pickle.

    No more items are taken than can be worked on soon. What ``act`` raises comes out here. Raises
    Trouble when a worker process ends by itself. Whatever ends the loop early, Ctrl-C too, waits
    for the items that are being worked on and drops the rest.
    """
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    count = workers or allowed_cores()
    if _SILENT not in sys.warnoptions:
        sys.warnoptions.append(_SILENT)
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(count, mp_context=context, initializer=_begin)
    waiting: Deque[Future[Value]] = deque()
    try:
        for item in items:
            waiting.append(_submit(executor, act, item))
            if len(waiting) > _AHEAD * count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise Trouble(
            "a worker process ended by itself: it was killed, or ran out of memory",
            "see that there is memory for all workers, or ask for fewer with --workers",
        ) from error
    finally:
        executor.shutdown(cancel_futures=True)
