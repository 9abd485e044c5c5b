"""Store: verified inputs by their sha256, ``<cache>/sha256/ab/abcd…``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from container.digest import sha256_of_file
from container.lock import LockedFile
from container.reachable import file_here
from container.trouble import Trouble


@dataclass(frozen=True)
class Store:
    """``shared`` is a group's: entries that are not in ``root`` are taken from it."""

    root: Path
    shared: Optional[Path] = None

    def path(self, sha256: str) -> Path:
        """Where the entry lies, or will lie."""
        own = self._own(sha256)
        if self.shared is not None and not _is_there(own):
            entry = Store(self.shared).path(sha256)
            if file_here(entry):
                return entry
        return own

    def _own(self, sha256: str) -> Path:
        return self.root / sha256[:2] / sha256

    def find(self, file: LockedFile) -> Optional[Path]:
        """The entry's path when it is there and whole; another is left for adopt to replace.

        Raises Trouble when something else than a file has its place.
        """
        entry = self.path(file.sha256)
        if not _is_there(entry) or mismatch(entry, file) is not None:
            return None
        return entry

    def fault(self, file: LockedFile) -> Optional[str]:
        """A sentence on an entry that was altered; None when it is whole or not there."""
        entry = self.path(file.sha256)
        fault = mismatch(entry, file) if _is_there(entry) else None
        return f"the stored copy of {file.basename} was altered ({fault})" if fault else None

    def adopt(self, arrived: Path, file: LockedFile) -> Path:
        """Move ``arrived`` (on the store's own file system) in; it is verified first.

        Raises Trouble, and removes ``arrived``, when it is not the locked file.
        """
        fault = mismatch(arrived, file)
        if fault is not None:
            arrived.unlink()
            raise Trouble(f"{file.basename}: {fault}", ANOTHER_SOURCE)
        with arrived.open("rb") as stream:
            os.fsync(stream.fileno())
        entry = self._own(file.sha256)
        entry.parent.mkdir(parents=True, exist_ok=True)
        arrived.replace(entry)
        return entry


ANOTHER_SOURCE = (
    "the source serves another file than the lock names: "
    "try again, or name another one with --mirror or pip's index settings"
)


def _is_there(entry: Path) -> bool:
    if not os.path.lexists(entry):
        return False
    if not entry.is_file():
        raise Trouble(
            f"{entry}: is not a file, though its name is that of a stored input",
            "remove it, then build again",
        )
    return True


def mismatch(path: Path, file: LockedFile) -> Optional[str]:
    """What differs between the file on disk and the lock, with both values; None when nothing."""
    size = path.stat().st_size
    if size != file.size:
        return f"expected {file.size} bytes, found {size}"
    sha256 = sha256_of_file(path)
    if sha256 != file.sha256:
        return f"expected sha256 {file.sha256}, found {sha256}"
    return None
