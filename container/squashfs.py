"""Squashfs by the mksquashfs that the lock pins, with its own C library: the host's never matters.

Compressors other than gzip are not known to the kernels of older clusters.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Dict, Sequence, Tuple

from container.process import run
from container.stack import Compression
from container.unpack_deb import unpack

LIBRARIES = ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu")
COMPRESSION: Dict[Compression, Tuple[str, ...]] = {
    "none": ("-noI", "-noD", "-noF", "-noX"),
    # Level 6 takes a third of level 9's time for one per cent more bytes.
    "gzip": ("-Xcompression-level", "6"),
}
#: For mksquashfs's queues, which would take a quarter of the machine; the bytes do not follow it.
MEMORY = "512M"
LOADER = "lib64/ld-linux-x86-64.so.2"


def unpack_tools(packages: Sequence[Path], folder: Path) -> None:
    """Make ``folder`` a root with the packing tools in it."""
    for name in ("bin", "lib", "lib64", "sbin"):
        (folder / "usr" / name).mkdir(parents=True)
        (folder / name).symlink_to(f"usr/{name}")
    for package in packages:
        unpack(package, folder)


def pack(
    tree: Path, target: Path, *, tools: Path, compression: Compression, timestamp: int
) -> None:
    """Write ``tree`` as a squashfs whose bytes depend on names, modes and contents alone.

    One owner (root), one time, no extended attributes. Raises CommandFailed.
    """
    libraries = ":".join(str(tools / name) for name in LIBRARIES)
    # fmt: off
    run(
        [
            str(tools / LOADER), "--library-path", libraries, str(tools / "usr/bin/mksquashfs"),
            str(tree), str(target), "-noappend", "-no-progress", "-quiet",
            "-comp", "gzip", *COMPRESSION[compression],
            "-all-root", "-no-xattrs", "-all-time", str(timestamp), "-mkfs-time", str(timestamp),
            "-processors", str(len(os.sched_getaffinity(0))), "-mem", MEMORY,
        ],
        # SOURCE_DATE_EPOCH and -all-time exclude each other: nothing of the caller's is passed on.
        env={"PATH": "/usr/bin:/bin", "TZ": "UTC"},
    )
    # fmt: on
