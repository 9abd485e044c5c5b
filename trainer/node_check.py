"""What MPI and loaders need of a node, looked at before either starts: without it they end without
a word, or with one that blames somebody else."""

from __future__ import annotations

import os
import resource
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Mapping, Optional, Tuple

from manifests.record.schema import Loading
from trainer.machine import host_name
from trainer.trouble import TrainerError

SHARED_MEMORY = Path("/dev/shm")
#: What Open MPI 4 wants to see free when a rank makes its segment for the others of its node
#: (btl_vader_segment_size), and what each segment takes at the beginning (seen: 200 kB).
SEGMENT = 4 << 20
SEGMENT_AT_FIRST = 256 << 10
#: Semaphores of loader processes: a page each.
SEMAPHORES = 64 << 10
#: Descriptors of a rank: 16 when MPI is up; pipes to each loader; a socket to each other rank.
DESCRIPTORS, PER_LOADER = 32, 8
#: Python, NumPy, Chainer and MPI before there is a network.
MEMORY = 64 << 20
#: The longest path of a socket (sun_path of unix(7)), and what multiprocessing adds to the folder.
SOCKET_PATH, SOCKET_NAME = 107, len("/pymp-01234567/listener-01234567")


@dataclass(frozen=True)
class Needs:
    """Of one rank. ``ranks`` are those on its node, ``all_ranks`` those of the run; ``segment``
    says whether MPI passes messages between the former through shared memory."""

    ranks: int
    all_ranks: int
    segment: bool
    loaders: int  # processes; 0: none

    @property
    def shared_memory(self) -> int:
        """In bytes that must be free."""
        segments = SEGMENT + (self.ranks - 1) * SEGMENT_AT_FIRST if self.segment else 0
        return segments + (SEMAPHORES if self.loaders else 0)

    @property
    def descriptors(self) -> int:
        return DESCRIPTORS + PER_LOADER * self.loaders + self.all_ranks - 1


def needs_of(loading: Loading, ranks: int, environment: Mapping[str, str]) -> Needs:
    """``environment`` is that of a rank, as Open MPI's launcher makes it."""
    here = int(environment.get("OMPI_COMM_WORLD_LOCAL_SIZE", "1"))
    segment = here > 1 and uses_shared_memory(environment.get("OMPI_MCA_btl", ""))
    loaders = loading.loaderjob if loading.iterator == "process" else 0
    return Needs(here, ranks, segment, loaders)


def uses_shared_memory(btl: str) -> bool:
    """Whether a value of Open MPI's parameter ``btl`` has vader in it: a list of components, after
    ``^`` of those that are left out."""
    named = {"vader", "sm"} & set(btl.lstrip("^").split(","))
    return bool(named) != btl.startswith("^") if btl else True


@dataclass(frozen=True)
class Node:
    """What there is of it. Numbers are bytes; None: nobody says."""

    name: str
    shared_memory: Path
    free_shared_memory: Callable[[], int]
    temporary: Callable[[], str]
    descriptors: Callable[[int], Tuple[int, int]]  # wanted -> (soft limit then, hard limit)
    memory: Optional[int]


def this_node() -> Node:
    return Node(
        host_name(),
        SHARED_MEMORY,
        _free_shared_memory,
        tempfile.gettempdir,
        _raise_limit,
        _memory(),
    )


def check_node(needs: Needs, node: Node) -> None:
    """Raises TrainerError for the first thing that the node has not got enough of."""
    if needs.shared_memory:
        _check_shared_memory(needs, node)
    _check_temporary(needs, node)
    _check_descriptors(needs, node)
    if node.memory is not None and node.memory < MEMORY * needs.ranks:
        raise TrainerError(
            f"{node.name} has {_mb(node.memory)} of free memory, "
            f"{needs.ranks} rank(s) need {_mb(MEMORY * needs.ranks)} to start",
            "end what else runs there, or take a node with more memory",
        )


def _check_shared_memory(needs: Needs, node: Node) -> None:
    where = f"the shared memory {node.shared_memory} of {node.name}"
    user, needed = ("MPI", "needs") if needs.segment else ("loader processes", "need")
    next_step = (
        f"remove what lies in {node.shared_memory} of that node (`ls -l {node.shared_memory}`), or "
        f"mount it larger; {_without(needs)}"
    )
    try:
        free = node.free_shared_memory()
        if free >= needs.shared_memory:
            with tempfile.TemporaryFile(dir=node.shared_memory) as stream:
                stream.write(bytes(SEMAPHORES))
            return
    except OSError as error:
        raise TrainerError(
            f"{where} cannot be used: {error.strerror or error}; {user} {needed} it", next_step
        ) from error
    raise TrainerError(
        f"{where} has {_mb(free)} free, {user} {needed} {_mb(needs.shared_memory)}", next_step
    )


def _without(needs: Needs) -> str:
    if needs.segment:
        return "MPI does without it by the site's `mca: {btl: self,tcp}`"
    return "`iterator: thread` does without it"


def _check_temporary(needs: Needs, node: Node) -> None:
    try:
        folder = node.temporary()
        with tempfile.TemporaryFile(dir=folder) as stream:
            stream.write(bytes(4096))
    except OSError as error:
        raise TrainerError(
            f"no temporary file can be made on {node.name}: {error.strerror or error}",
            "make room in the folder that TMPDIR names there (else /tmp), or name another",
        ) from error
    length = len(os.fsencode(folder)) + SOCKET_NAME
    if needs.loaders and length > SOCKET_PATH:
        raise TrainerError(
            f"the temporary folder {folder} has a path of {len(os.fsencode(folder))} bytes, "
            f"loader processes need one of at most {SOCKET_PATH - SOCKET_NAME} for their sockets",
            "set TMPDIR to a folder with a shorter path, or use `iterator: thread`",
        )


def _check_descriptors(needs: Needs, node: Node) -> None:
    soft, hard = node.descriptors(needs.descriptors)
    if soft < needs.descriptors:
        raise TrainerError(
            f"a process on {node.name} may open {soft} files (at most {hard}), "
            f"a rank of this run needs {needs.descriptors}",
            "raise the limit there (`ulimit -n`), or use fewer loaders",
        )
    try:
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).close()
    except OSError as error:
        raise TrainerError(
            f"no socket can be made on {node.name}: {error.strerror or error}",
            "end what else runs there: it has opened too much",
        ) from error


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _free_shared_memory() -> int:
    found = os.statvfs(SHARED_MEMORY)
    return found.f_bavail * found.f_frsize


def _raise_limit(wanted: int) -> Tuple[int, int]:
    """Raise the soft limit where it is lower than ``wanted`` and may be raised."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= soft < wanted:
        soft = wanted if hard < 0 else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return (wanted if soft < 0 else soft), hard


def _memory() -> Optional[int]:
    """MemAvailable of proc(5)."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(x.split()[1]) << 10 for x in lines if x.startswith("MemAvailable:"))
    except (OSError, ValueError, IndexError, StopIteration):
        return None
