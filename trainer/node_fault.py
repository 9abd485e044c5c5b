"""Errors that are the node's and not the trainer's: no room, no memory, a limit, a disk."""

from __future__ import annotations

import errno
from typing import Optional

from trainer.machine import host_name
from trainer.trouble import TrainerError

_ROOM = "make room there: in the folder of the run, in /dev/shm, and in the folder of TMPDIR"
_FILES = "raise the limit of open files there (`ulimit -n`), or use fewer loaders"
_MEMORY = "use a smaller batchsize, fewer loaders or ranks, or a node with more memory"
_PROCESSES = "raise the limit of processes there (`ulimit -u`), or use fewer loaders"
_NEXT = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EMFILE: _FILES,
    errno.ENFILE: _FILES,
    errno.ENOMEM: _MEMORY,
    errno.EAGAIN: _PROCESSES,
}
_OTHER = "look after this node, then start the run again; the traceback is in the run's logs"


def node_fault(error: BaseException) -> Optional[TrainerError]:
    """What to tell of an error that the system reported; None for one that is ours."""
    if isinstance(error, MemoryError):
        said = str(error) or "no more could be had"
        return TrainerError(f"memory ran out on {host_name()}: {said}", _MEMORY)
    if isinstance(error, RuntimeError) and str(error) == "can't start new thread":
        return TrainerError(f"{host_name()} lets this process start no more threads", _PROCESSES)
    if not isinstance(error, OSError):
        return None
    said = error.strerror or str(error) or type(error).__name__
    where = f" ({error.filename})" if error.filename else ""
    next_step = _NEXT.get(error.errno or 0, _OTHER)
    return TrainerError(f"the system of {host_name()} refused: {said}{where}", next_step)
