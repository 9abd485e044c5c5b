"""A sample set seen before: the stamps of all its files in one file, and the table that they gave

The digest cache knows a million images by a million rows, and each line of the table is made anew.
Where the list and every stamp are those of the last time, so is the table. Every file is still
asked for its stamp; where one differs, the digest cache is asked, row by row.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from array import array
from contextlib import suppress
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

from container import atomic
from container.trouble import Trouble
from manifests.datasets.digest_cache import CURRENT, SETTLED_NS, Stamp
from manifests.datasets.workers import allowed_cores, spread

#: Smaller sets are quick without.
SMALLEST = 20_000
#: Files that one worker looks at in one go.
CHUNK = 1 << 16
#: So many sets are kept, those used last.
KEPT = 8

_PREFIX = f"{CURRENT}.set-"
_WORDS = 4  # of a stamp


class _Part(NamedTuple):
    """Where the lines and the stamps of some files lie in the file of a set, in bytes."""

    file: str
    root: str
    table: int
    table_length: int
    stamps: int
    files: int


def set_key(root: str, paths: Sequence[str], labels: Sequence[int]) -> str:
    """Names the samples of a list below an absolute root."""
    sha256 = hashlib.sha256(f"{len(paths)}\0{root}\0".encode("utf-8", "surrogateescape"))
    sha256.update("\n".join(paths).encode("utf-8", "surrogateescape"))
    sha256.update(array("q", labels).tobytes())
    return sha256.hexdigest()[:32]


def known_table(
    folder: Path, key: str, root: str, *, touch: bool = True, workers: Optional[int] = None
) -> Optional[bytes]:
    """The table of a set of which every file is as it was when it was remembered; None where one is
    not, or the set is not known, or what is remembered is not whole.

    ``touch``: it counts as used. ``workers`` are processes, by default one for each core.
    """
    path = folder / f"{_PREFIX}{key}"
    try:
        with path.open("rb") as stream:
            head = json.loads(stream.readline())
            begin = stream.tell()
            parts = _parts(head, str(path), root, begin)
            table = b"".join(_read(stream, part.table, part.table_length) for part in parts)
        if hashlib.sha256(table).hexdigest() != head["table"] or not _unchanged(parts, workers):
            return None
    except (OSError, ValueError, KeyError, TypeError, Trouble):
        return None
    if touch:
        with suppress(OSError):
            os.utime(path)
    return table


def _parts(head: Dict[str, Any], file: str, root: str, begin: int) -> List[_Part]:
    parts = []
    at = begin
    for length, count in head["parts"]:
        stamps = at + length
        parts.append(_Part(file, root, at, length, stamps, count))
        at = stamps + 8 * _WORDS * count
    return parts


def _read(stream: Any, offset: int, length: int) -> bytes:
    stream.seek(offset)
    found: bytes = stream.read(length)
    return found


def _unchanged(parts: Sequence[_Part], workers: Optional[int]) -> bool:
    count = min(len(parts), workers or allowed_cores())
    if count < 2 or len(parts) < 4:  # to start processes takes longer
        return all(map(part_unchanged, parts))
    found = spread(part_unchanged, parts, workers=count)
    try:
        return all(found)
    finally:
        found.close()


def part_unchanged(part: _Part) -> bool:
    """Whether each file of a part is a regular file with the stamp that is remembered."""
    with open(part.file, "rb") as stream:
        lines = _read(stream, part.table, part.table_length).split(b"\n")
        stamps = array("q")
        stamps.frombytes(_read(stream, part.stamps, 8 * _WORDS * part.files))
    lines.pop()
    if not len(lines) == part.files == len(stamps) // _WORDS:
        return False
    columns = (stamps[place * part.files : (place + 1) * part.files] for place in range(_WORDS))
    lstat, prefix = os.lstat, os.fsencode(part.root) + b"/"
    try:
        for line, size, modified, inode, changed in zip(lines, *columns):
            found = lstat(prefix + line.rpartition(b"\t")[2])
            if (
                found.st_ctime_ns != changed
                or found.st_ino != inode
                or found.st_mtime_ns != modified
                or found.st_size != size
            ):
                return False
    except OSError:
        return False
    return True


def remember_table(
    folder: Path, key: str, lines: Sequence[bytes], stamps: Sequence[Optional[Stamp]], now_ns: int
) -> None:
    """Keep the ``lines`` of a table and the stamps that the files had at ``now_ns`` or later.

    Nothing is kept of a set with a file that is no regular one by itself (None) or that may change
    within the resolution of its times. Raises OSError.
    """
    if any(stamp is None or max(stamp[1], stamp[3]) + SETTLED_NS >= now_ns for stamp in stamps):
        return
    chunks = [slice(start, start + CHUNK) for start in range(0, len(lines), CHUNK)]
    tables = [b"".join(lines[chunk]) for chunk in chunks]
    whole = hashlib.sha256()
    for table in tables:
        whole.update(table)
    head = {
        "table": whole.hexdigest(),
        "parts": [(len(table), len(lines[chunk])) for table, chunk in zip(tables, chunks)],
    }
    folder.mkdir(parents=True, exist_ok=True)
    with atomic.replacing(folder / f"{_PREFIX}{key}") as stream:
        stream.write(json.dumps(head, allow_nan=False).encode() + b"\n")
        for table, chunk in zip(tables, chunks):
            stream.write(table)
            for column in zip(*(stamp for stamp in stamps[chunk] if stamp is not None)):
                stream.write(array("q", column).tobytes())
    _forget_oldest(folder)


def known_sets(folder: Path) -> List[Path]:
    """Files of sets, the one used last first."""
    found = []
    for path in folder.glob(f"{_PREFIX}*"):
        with suppress(OSError):  # another command may have removed it
            status = path.stat()
            if stat.S_ISREG(status.st_mode):
                found.append((status.st_mtime, path))
    return [path for _, path in sorted(found, reverse=True)]


def _forget_oldest(folder: Path) -> None:
    for path in known_sets(folder)[KEPT:]:
        with suppress(OSError):
            path.unlink()
