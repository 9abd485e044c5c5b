"""Digests of files seen before, by absolute path, size, times and inode.

An SQLite file, so that kill -9 and several runs at once leave it whole. The cache only saves
time: whatever goes wrong with it is a warning, and the work is done without it.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Dict, Iterable, List, Optional, Sequence, Tuple
from urllib.parse import quote

from manifests.datasets.cache_folder import CacheFolder, OnlyRead

#: (size, mtime, inode, ctime), times in ns. The change time is part of it because a tool may
#: set the modification time back.
Stamp = Tuple[int, int, int, int]

#: A file younger than this may change again within the resolution of its time stamps.
SETTLED_NS = 2_000_000_000

#: How long a command waits while another one writes: on a busy disk that is not over at once.
LOCK_SECONDS = 60.0

#: The file's name. The number grows when an image that was good enough is no longer.
CURRENT = "images-3.sqlite3"

_ASKED_AT_ONCE = 900  # below SQLite's oldest limit of 999 parameters


def stamp_of(status: os.stat_result) -> Stamp:
    return (status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns)


class DigestCache:
    """``folder`` None means no cache. Use it in one thread only."""

    def __init__(self, folder: Optional[CacheFolder]) -> None:
        self.warnings: List[str] = []
        self._database: Optional[sqlite3.Connection] = None
        self._writes = not isinstance(folder, OnlyRead)
        if folder is None:
            return
        if isinstance(folder, OnlyRead):
            with suppress(sqlite3.Error):  # there is none yet
                name = f"file:{quote(str(folder.folder / CURRENT))}?mode=ro"
                self._database = sqlite3.connect(name, uri=True, timeout=LOCK_SECONDS)
            return
        path = folder / CURRENT
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, timeout=LOCK_SECONDS)
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS images (path TEXT PRIMARY KEY, size INTEGER, "
                "mtime INTEGER, inode INTEGER, ctime INTEGER, sha256 TEXT) WITHOUT ROWID"
            )
        except (OSError, sqlite3.Error) as error:
            self._give_up(f"{path}: {error}")

    def _give_up(self, reason: str) -> None:
        self.warnings.append(f"image digests are not cached: {reason}")
        self.close()

    def close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    def known(self, stamps: Dict[str, Stamp]) -> Dict[str, str]:
        """sha256 by path of those files that are remembered with this very stamp."""
        found: Dict[str, str] = {}
        paths = list(stamps)
        try:
            for start in range(0, len(paths) if self._database else 0, _ASKED_AT_ONCE):
                found.update(self._ask(paths[start : start + _ASKED_AT_ONCE], stamps))
        except sqlite3.Error as error:
            if self._writes:
                self._give_up(str(error))
            else:
                self.close()
        return found

    def _ask(self, paths: Sequence[str], stamps: Dict[str, Stamp]) -> Dict[str, str]:
        assert self._database is not None
        marks = ",".join("?" * len(paths))
        rows = self._database.execute(
            f"SELECT path, sha256, size, mtime, inode, ctime FROM images WHERE path IN ({marks})",
            paths,
        )
        return {row[0]: row[1] for row in rows if stamps[row[0]] == row[2:]}

    def remember(self, rows: Iterable[Tuple[str, Stamp, str]], *, now_ns: int) -> None:
        """Keep (path, stamp, sha256) of files that have been unchanged for a while."""
        settled = [
            (path, *stamp, sha256)
            for path, stamp, sha256 in rows
            if max(stamp[1], stamp[3]) + SETTLED_NS < now_ns
        ]
        if self._database is None or not settled or not self._writes:
            return
        try:
            with self._database:
                self._database.executemany(
                    "INSERT OR REPLACE INTO images (path, size, mtime, inode, ctime, sha256) "
                    "VALUES (?, ?, ?, ?, ?, ?)",
                    settled,
                )
        except sqlite3.Error as error:
            self._give_up(str(error))


def sizes_by_root(path: Path, roots: Sequence[str]) -> Tuple[int, int]:
    """About how many bytes of the file are entries below one of ``roots``, and below none.

    (0, 0) where there is no such file, or nobody can read it.
    """
    try:
        size = path.stat().st_size
        below, other = 0, 0
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            for (name,) in database.execute("SELECT path FROM images"):
                if _is_below(name, roots):
                    below += 1
                else:
                    other += 1
    except (OSError, sqlite3.Error):
        return 0, 0
    share = size * below // (below + other) if below else 0
    return share, size - share if other else 0


def forget(path: Path, roots: Sequence[str]) -> None:
    """Remove the entries below none of ``roots``. Raises sqlite3.Error."""
    with closing(sqlite3.connect(path, timeout=LOCK_SECONDS)) as database:
        with database:
            database.create_function("kept", 1, lambda name: _is_below(name, roots))
            database.execute("DELETE FROM images WHERE NOT kept(path)")
        database.execute("VACUUM")


def _is_below(name: str, roots: Sequence[str]) -> bool:
    return any(name.startswith(f"{root.rstrip('/')}/") for root in roots)
