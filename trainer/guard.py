"""Whatever ends a rank ends all ranks of its run: nobody waits for one that is gone.

A launcher ends the other ranks when one of them is killed by a signal or leaves with a status that
is not 0. So a rank must do one of these, and soon, whatever happens to it. Two processes see to
that. In the rank itself signals have their deadly default and every exception becomes a status.
Above it a guard, which loads nothing, waits for its end: a rank that leaves with 0 before its work
is done failed, and one whose launcher is gone is killed. Both are in force before anything is
imported that takes long.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Callable, List, Mapping, NoReturn, Optional, Tuple

#: What schedulers send as a warning. Not USR1: NCCL catches it.
WARNING_SIGNAL = signal.SIGUSR2

#: What the guard hands on to the rank.
HANDED_ON = (
    signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, WARNING_SIGNAL,
)  # fmt: skip

#: The status of a rank that ends by a fault of the trainer, or of its own accord too early.
FAULT = 1

#: Seconds that a rank which fails may take to say so, on file systems and through MPI.
LAST_WORDS_SECONDS = 60

#: How often the guard looks whether the launcher is there.
LOOK_SECONDS = 1.0

#: By which a launcher's own processes are known (proc(5), comm), on the first node and on others.
LAUNCHERS = ("mpirun", "mpiexec", "orterun", "orted", "prterun", "prte", "prted", "slurmstepd")

#: What launchers set for each rank.
ANNOUNCED = ("OMPI_COMM_WORLD_RANK", "PMIX_RANK")

#: Of <linux/prctl.h>: the signal that a process gets when its parent has died.
PR_SET_PDEATHSIG = 1


def guarded(body: Callable[[], int]) -> NoReturn:
    """Run ``body`` in a process of its own, and end with the status that it returns."""
    # Grid Engine's word that the job is about to be suspended.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    waited_for = {*HANDED_ON, signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, waited_for)
    reading, writing = os.pipe()
    guard, rank = os.getpid(), os.fork()
    if rank == 0:
        os.close(reading)
        _die_with(guard)
        # Python would make an exception of it, which may end nowhere.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        # The warning waits until somebody takes it.
        signal.pthread_sigmask(signal.SIG_SETMASK, {*before, WARNING_SIGNAL})
        _run(body, writing)
    os.close(writing)
    _leave_as(_end_of(rank, links_to_launcher(guard, os.environ)), reading)


# --- in the rank ----------------------------------------------------------------------------


def _die_with(guard: int) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != guard:
        os._exit(FAULT)


def _run(body: Callable[[], int], writing: int) -> NoReturn:
    threading.excepthook = lambda died: leave_by(died.exc_value)
    try:
        status = body()
    except BaseException as error:
        leave_by(error)
    if status != 0:
        leave(status)
    os.write(writing, b"done")
    sys.exit(0)


def leave_by(error: Optional[BaseException]) -> NoReturn:
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


# --- in the guard ---------------------------------------------------------------------------


def _end_of(rank: int, links: List[Tuple[int, int]]) -> int:
    """Wait for the rank's end; its status as waitpid(2) gives it.

    By a timer: Python's sigtimedwait gives any number where it was stopped (SIGSTOP) for longer
    than it was to wait, as a job is that its scheduler suspends.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    signal.setitimer(signal.ITIMER_REAL, LOOK_SECONDS, LOOK_SECONDS)
    while True:
        came = signal.sigwaitinfo({*HANDED_ON, signal.SIGCHLD, signal.SIGALRM}).si_signo
        if came in HANDED_ON:
            os.kill(rank, came)
        elif any(parent_of(child) != parent for child, parent in links):
            os.kill(rank, signal.SIGKILL)
        ended, status = os.waitpid(rank, os.WNOHANG)
        if ended:
            return status


def _leave_as(status: int, reading: int) -> NoReturn:
    """As the rank did; with 0 only where it said that its work is done."""
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        with suppress(OSError, ValueError):  # KILL needs no default
            signal.signal(-code, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {-code})
        os.kill(os.getpid(), -code)
    if code == 0 and not os.read(reading, 4):
        code = FAULT
    os._exit(code if code >= 0 else 128 - code)


# --- the launcher ---------------------------------------------------------------------------


def links_to_launcher(pid: int, environment: Mapping[str, str]) -> List[Tuple[int, int]]:
    """(child, parent) from ``pid`` up to its launcher; where none is seen, to its parent.

    A container that is killed leaves the rank in it alive, and so does a launcher: it would compute
    on, or spin in a reduction for ever. None where no launcher started this process.
    """
    if not any(name in environment for name in ANNOUNCED):
        return []
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
