"""The loopback interface: mpirun starts no ranks without it, not even on one host

It is down in a network namespace that was just made (`unshare -n`), and nowhere else.
"""

from __future__ import annotations

import fcntl
import socket
import struct

from container.trouble import Trouble

#: netdevice(7) and linux/sockios.h; struct ifreq has 40 bytes.
_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 0x1
_REQUEST = struct.Struct("16sH22x")


def need_loopback(hostname: str) -> None:
    """Bring it up where it is down, which who made the namespace may do. Raises Trouble where not.

    A system that cannot be asked is left alone.
    """
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
            answer = fcntl.ioctl(asked, _GET_FLAGS, _REQUEST.pack(b"lo", 0))
            flags = _REQUEST.unpack(answer)[1]
            if not flags & _UP:
                _bring_up(asked, flags, hostname)
    except OSError:
        return


def _bring_up(asked: socket.socket, flags: int, hostname: str) -> None:
    try:
        fcntl.ioctl(asked, _SET_FLAGS, _REQUEST.pack(b"lo", flags | _UP))
    except OSError as error:
        raise Trouble(
            f"{hostname}: the loopback interface is down, and mpirun needs it: "
            f"it cannot be brought up: {error.strerror}",
            "as root: ip link set lo up; or `unshare -rn` instead of `unshare -n`",
        ) from error
