"""Whatever ends a rank ends all ranks of its run: nobody waits for one that is gone.

A launcher ends the other ranks when one of them is killed by a signal or leaves with a status that
is not 0. So a rank must do one of these, and soon, whatever happens to it: here every signal keeps
or gets its deadly default, every exception becomes such a status, and a rank whose launcher is
gone ends itself. It is in force before anything is imported that takes long.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Callable, List, Mapping, NoReturn, Tuple

#: What schedulers send as a warning. Not USR1: NCCL catches it.
WARNING_SIGNAL = signal.SIGUSR2

#: The status of a rank that ends by a fault of the trainer, or of its own accord too early.
FAULT = 1

#: Seconds that a rank which fails may take to say so, on file systems and through MPI.
LAST_WORDS_SECONDS = 60

#: How often a rank looks whether its launcher is there.
LOOK_SECONDS = 1.0

#: By which a launcher's own processes are known (proc(5), comm), on the first node and on others.
LAUNCHERS = ("mpirun", "mpiexec", "orterun", "orted", "prterun", "prte", "prted", "slurmstepd")

#: What launchers set for each rank.
ANNOUNCED = ("OMPI_COMM_WORLD_RANK", "PMIX_RANK")


def guarded(body: Callable[[], int]) -> NoReturn:
    """Run ``body`` and end the process with the status that it returns."""
    take_signals()
    threading.excepthook = lambda died: leave_by(died.exc_value)
    watch_launcher(os.environ)
    try:
        status = body()
    except BaseException as error:
        leave_by(error)
    if status != 0:
        leave(status)
    sys.exit(0)


def take_signals() -> None:
    """Python would make an exception of SIGINT, which may end nowhere; the warning waits until
    somebody takes it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_BLOCK, {WARNING_SIGNAL})


def leave_by(error: BaseException | None) -> NoReturn:
    """Print what nobody else has said, and end."""
    with suppress(BaseException):
        traceback.print_exception(error)
    leave(FAULT)


def leave(status: int) -> NoReturn:
    """End at once. Other threads, the interpreter's own end and MPI's are not waited for."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(BaseException):
            stream.flush()
    os._exit(status)


def limit_last_words() -> None:
    """The kernel ends this process if it is still there after a while, whatever holds it up."""
    signal.alarm(LAST_WORDS_SECONDS)  # nobody handles it, so it is deadly


# --- the launcher ---------------------------------------------------------------------------


def watch_launcher(environment: Mapping[str, str]) -> None:
    """End this process when a process between it and its launcher, or the launcher, is gone.

    A container that is killed leaves the rank in it alive, and so does a launcher: it would compute
    on, or spin in a reduction for ever.
    """
    if not any(name in environment for name in ANNOUNCED):
        return
    links = links_to_launcher(os.getpid())
    threading.Thread(target=_watch, args=(links,), name="launcher", daemon=True).start()


def _watch(links: List[Tuple[int, int]]) -> None:
    while all(parent_of(child) == parent for child, parent in links):
        time.sleep(LOOK_SECONDS)
    os._exit(FAULT)


def links_to_launcher(pid: int) -> List[Tuple[int, int]]:
    """(child, parent) from ``pid`` up to the next launcher; where none is seen, to its parent."""
    links: List[Tuple[int, int]] = []
    child = pid
    while (parent := parent_of(child)) > 1:
        links.append((child, parent))
        if _command_of(parent) in LAUNCHERS:
            return links
        child = parent
    return links[:1]


def parent_of(pid: int) -> int:
    """0 where it is not known: the process is gone, or not to be seen from here."""
    if pid == os.getpid():
        return os.getppid()
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return int(fields[1])
    except OSError:
        return 0


def _command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
    except OSError:
        return ""
