"""What private servers have in common: ports, pid files, waiting, ending."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Callable, Dict, Iterable, List, Optional

#: Where Debian puts daemons; an ordinary user's PATH may lack it.
PATH = f"{os.environ.get('PATH', '/usr/bin:/bin')}:/usr/sbin:/sbin"
INSTALL = "not installed; as root on Debian: bash tests/install.sh"


class NotUp(RuntimeError):
    """A server that did not start, with the end of its logs."""


def missing(programs: Iterable[str]) -> List[str]:
    return [name for name in programs if shutil.which(name, path=PATH) is None]


def free_ports(count: int) -> List[int]:
    """Ports that nobody listens on at this moment."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()


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
        timeout=60,
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


def wait_until(is_so: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
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
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
