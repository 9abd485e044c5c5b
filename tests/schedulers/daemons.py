"""What private servers have in common: ports, pid files, waiting, ending."""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Callable, Dict, Iterable, List, Optional

from tests.waiting import PATIENCE

#: Where Debian puts daemons; an ordinary user's PATH may lack it.
PATH = f"{os.environ.get('PATH', '/usr/bin:/bin')}:/usr/sbin:/sbin"
INSTALL = "not installed; as root on Debian: bash tests/install.sh"


class NotUp(RuntimeError):
    """A server that did not start, with the end of its logs."""


def missing(programs: Iterable[str]) -> List[str]:
    return [name for name in programs if shutil.which(name, path=PATH) is None]


#: Locks on the ports that this process has given to its servers.
_taken: List[IO[str]] = []


def free_ports(count: int) -> List[int]:
    """Ports that nobody listens on, that no other test session takes, and that the kernel gives to
    no connection: a server that is started again must find them free, too."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    folder = Path(tempfile.gettempdir()) / f"bundle-test-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    lowest = 10000 if first > 12000 else 1024
    found: List[int] = []
    while len(found) < count:
        port = random.SystemRandom().randrange(lowest, first)
        if _take(port, folder):
            found.append(port)
    return found


def _take(port: int, folder: Path) -> bool:
    lock = (folder / str(port)).open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with socket.socket() as tried:
            tried.bind(("", port))
    except OSError:
        lock.close()
        return False
    _taken.append(lock)
    return True


def call(
    argv: List[str], env: Dict[str, str], *, code: Optional[int] = 0, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a command with only ``env`` and a PATH that knows the daemons."""
    done = subprocess.run(
        argv,
        env={"PATH": PATH, "HOME": os.environ.get("HOME", "/"), **env},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    if code is not None and done.returncode != code:
        raise NotUp(f"{argv}: {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


#: Ranks of a node find each other's shared memory by the node's name, and the nodes of a test have
#: one name: on separate machines /dev/shm is the node's own.
OWN_SHARED_MEMORY = "mount -t tmpfs tmpfs /dev/shm"


def on_its_own_node(argv: List[str]) -> List[str]:
    """``argv`` with a /dev/shm of its own, as on a machine of its own; as it is without root."""
    if os.geteuid() != 0:
        return argv
    shell = f'{OWN_SHARED_MEMORY} && exec "$@"'
    return ["unshare", "-m", "--propagation", "private", "sh", "-c", shell, "sh", *argv]


def wait_until(is_so: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            raise NotUp(f"not within {seconds:g} s: {what}")
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    """A zombie is dead: what reaps it may be late."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return fields[0] not in ("Z", "X")


def stop(pid_file: Path, names: Iterable[str], seconds: float = 15.0) -> None:
    """End the process that a pid file names, if it is one of ``names``; hard after ``seconds``."""
    try:
        pid = int(pid_file.read_text())
        if Path(f"/proc/{pid}/comm").read_text().strip() not in names:
            return
        os.kill(pid, signal.SIGTERM)
    except (OSError, ValueError):
        return
    deadline = time.monotonic() + seconds
    while is_alive(pid):
        if time.monotonic() > deadline:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
