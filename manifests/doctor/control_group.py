"""Control groups, cgroups(7): what share of time and memory this process may take."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Callable, List, Optional

MOUNT = PurePosixPath("/sys/fs/cgroup")
#: Reads a file as text, None where it is not there or cannot be read.
Read = Callable[[PurePosixPath], Optional[str]]


def folders(membership: str, controller: str) -> List[PurePosixPath]:
    """The groups of /proc/self/cgroup's text, for one controller, and all groups above them.

    A line is ``number:controllers:path``; in version 2 it is ``0::path``.
    """
    found: List[PurePosixPath] = []
    for line in membership.splitlines():
        _, names, path = line.split(":", 2)
        if names == "":
            top = MOUNT
        elif controller in names.split(","):
            top = MOUNT / controller
        else:
            continue
        group = top / path.lstrip("/")
        above = [folder for folder in (group, *group.parents) if folder.is_relative_to(top)]
        found += above
    return found


def quota(membership: str, read: Read) -> Optional[float]:
    """Cores' worth of time: the smallest quota over its period, None without one."""
    shares: List[float] = []
    for folder in folders(membership, "cpu"):
        words = (read(folder / "cpu.max") or "").split()
        if not words:
            files = (read(folder / "cpu.cfs_quota_us"), read(folder / "cpu.cfs_period_us"))
            words = [text.strip() for text in files if text]
        if len(words) == 2 and words[0].isdigit() and int(words[1]) > 0:
            shares.append(int(words[0]) / int(words[1]))
    return min(shares, default=None)


def memory_limit(membership: str, read: Read) -> Optional[int]:
    """Bytes: the smallest limit, None without one. Version 1 says "none" by a huge number."""
    texts = [
        read(folder / name)
        for folder in folders(membership, "memory")
        for name in ("memory.max", "memory.limit_in_bytes")
    ]
    return min((int(text) for text in texts if text and text.strip().isdigit()), default=None)


def memory_used(membership: str, read: Read) -> int:
    """Bytes that the group itself uses now, without files that the kernel could drop at once."""
    for folder in folders(membership, "memory"):
        for usage in ("memory.current", "memory.usage_in_bytes"):
            text = read(folder / usage)
            if text and text.strip().isdigit():
                pairs = (line.split() for line in (read(folder / "memory.stat") or "").splitlines())
                idle = {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2}
                files = idle.get("total_inactive_file", idle.get("inactive_file", 0))
                return max(0, int(text) - files)
    return 0
