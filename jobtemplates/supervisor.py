"""The first process of a job on this host: ``supervisor.py AGAIN STATUS MARK COMMAND…``.

It runs the command, and up to AGAIN times more for as long as it ends with STATUS (at a checkpoint,
with work left) or by a signal, or leaves the file MARK: its ranks were ended from outside. It hands
signals on to it, and is the parent of all that loses its own (prctl(2), PR_SET_CHILD_SUBREAPER):
the job ends as a whole. When the command has ended, whatever is left of it is ended too: ranks of a
job script that was killed, and the helper that mounts an image, which outlives a container that was
killed. It leaves with the command's status.

It is run by itself, by the path of this file, so that nothing of the project is imported: a job
goes on whatever happens to the project's folder.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Dict, Iterable, List, NoReturn, Optional, Sequence, Set, Tuple

WARNING_SIGNAL = signal.SIGUSR2
HANDED_ON = (
    signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, WARNING_SIGNAL,
)  # fmt: skip
WAITED_FOR = (*HANDED_ON, signal.SIGCHLD)

#: Of <linux/prctl.h>.
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

#: How often it is looked whether the command takes the warning.
LOOK_SECONDS = 0.05

#: Seconds that what is left has to end by itself, and those after which it is given up.
GRACE = 5.0
PATIENCE = 20.0

#: What scripts know their job by: it is the same for all scripts of a chain.
JOB_VARIABLE = "BUNDLE_JOB"


def main(again: int, unfinished: int, mark: Path, command: Sequence[str]) -> NoReturn:
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, WAITED_FOR)
    code = unfinished
    for _ in range(1 + again):
        supervisor, child = os.getpid(), os.fork()
        if child == 0:
            become(command, supervisor, before)
        status, asked_to_end = wait_for_child(child)
        code = os.waitstatus_to_exitcode(status)
        end_the_rest()
        if asked_to_end or not (code == unfinished or code < 0 or mark.exists()):
            break
    os._exit(code if code >= 0 else 128 - code)


def become(command: Sequence[str], supervisor: int, mask: Iterable[int]) -> NoReturn:
    """The command; it is asked to end where its supervisor is killed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.environ[JOB_VARIABLE] = str(supervisor)
        if os.getppid() == supervisor:
            os.execvp(command[0], list(command))
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
    finally:
        os._exit(127)


def wait_for_child(child: int) -> Tuple[int, bool]:
    """Until ``child`` has ended; its status as waitpid(2) gives it, and whether the job was asked
    to end, whatever it makes of that.

    The scheduler's warning waits until the command takes it: a shell that has only just begun would
    die of it.
    """
    warned = asked_to_end = False
    while True:
        if warned:
            time.sleep(LOOK_SECONDS)
            # Where it was stopped while it waits, Python gives any number: it does not wait.
            came = getattr(signal.sigtimedwait(WAITED_FOR, 0), "si_signo", None)
        else:
            came = signal.sigwait(WAITED_FOR)
        warned = warned or came == WARNING_SIGNAL
        if came not in (None, signal.SIGCHLD, WARNING_SIGNAL):
            os.kill(child, came)
            asked_to_end = True
        if warned and catches(child, WARNING_SIGNAL):
            os.kill(child, WARNING_SIGNAL)
            warned = False
        status = reap().get(child)
        if status is not None:
            return status, asked_to_end


def catches(pid: int, number: int) -> bool:
    """Whether a process has a handler for a signal (proc(5), SigCgt)."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name == "SigCgt":
                return bool(int(value, 16) >> (number - 1) & 1)
    return False


def reap() -> Dict[int, int]:
    """Those of our children that have ended, with their status."""
    ended: Dict[int, int] = {}
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            ended[pid] = status
    return ended


def end_the_rest() -> None:
    """TERM once to all that is left, KILL after a while. What cannot be ended is left."""
    begun = time.monotonic()
    asked: Set[int] = set()
    while left := descendants(os.getpid()):
        late = time.monotonic() - begun
        if late > PATIENCE:
            return
        for pid in left:
            if late > GRACE or pid not in asked:
                asked.add(pid)
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL if late > GRACE else signal.SIGTERM)
        signal.sigtimedwait({signal.SIGCHLD}, 0.1)
        reap()


def descendants(pid: int) -> List[int]:
    """All living processes below ``pid``; only what can be seen in /proc."""
    children: Dict[int, List[int]] = {}
    for path in Path("/proc").iterdir():
        parent = living_parent(path) if path.name.isdigit() else None
        if parent is not None:
            children.setdefault(parent, []).append(int(path.name))
    found: List[int] = []
    new = [pid]
    while new:
        new = [child for parent in new for child in children.get(parent, [])]
        found += new
    return found


def living_parent(path: Path) -> Optional[int]:
    """None of a process that is gone; a zombie counts as long as it is not reaped."""
    try:
        fields = (path / "stat").read_text(errors="replace").rpartition(")")[2].split()
        return int(fields[1])
    except (OSError, IndexError):
        return None


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
