"""How much room a build takes on the file system of the cache."""

from __future__ import annotations

import os
from typing import Dict, Optional

from container.cache import Cache
from container.lock import Lock
from container.reachable import file_here
from container.stack import Compression
from container.store import Store

#: A build needs the packages, the unpacked tree, its squashfs and the image at one time: so many
#: times the packages. Measured by du: cpu 0.8 GB with 71 MB of packages, cuda12 7.4 GB with 1.55.
BUILD_FACTOR: Dict[Compression, float] = {"none": 11.5, "gzip": 4.77}


def gb(size: float) -> str:
    return f"{size / 1e9:.1f} GB"


def build_room(lock: Lock) -> int:
    """Bytes that a build takes, the packages included."""
    return round(BUILD_FACTOR[lock.compression] * sum(file.size for file in lock.all_files))


def room_to_come(lock: Lock, cache: Cache) -> int:
    """Bytes that a build would still write; the store's files are taken to be whole."""
    store = Store(cache.store, cache.shared_store)
    here = {file.sha256: file.size for file in lock.all_files if file_here(store.path(file.sha256))}
    return build_room(lock) - sum(here.values())


def room_fault(free: int, needed: int) -> Optional[str]:
    """What is wrong where ``free`` bytes are less than the ``needed`` ones, else None."""
    return f"a build takes about {gb(needed)} more" if free < needed else None


def little_room(lock: Lock, cache: Cache) -> Optional[str]:
    """A sentence where a build may not fit; the folder of the cache must be there.

    An estimate: it may fit all the same, so it is no reason to refuse.
    """
    there = os.statvfs(cache.root)
    free = there.f_bavail * there.f_frsize
    fault = room_fault(free, room_to_come(lock, cache))
    return fault and f"{cache.root}, {gb(free)} free: {fault}; it may end with a full disk"
