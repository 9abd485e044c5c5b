"""Inputs that runs in one folder have in common take their room once: they are hard links

Deleting a run takes nothing from the others: each name is as good as any other. Nothing of a run is
changed in its place (container.atomic), and these files may not be written.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Iterator

from container import atomic
from manifests.rundir.run_names import known_runs

#: So many of the newest runs are looked at.
_MOST = 100
_BLOCK = 1 << 22
#: A link saves nothing for smaller files.
_SMALL = 1 << 16


def share_bytes(target: Path, data: bytes, out: Path) -> None:
    """Make the new file ``target`` of a run that will lie in ``out``: a link to the same file of
    another run there that has these very bytes, else written. Raises OSError."""
    if len(data) >= _SMALL:
        for donor in islice(_runs(out), _MOST):
            path = donor / target.parent.name / target.name
            if _holds(path, data) and _linked(path, target):
                return
    atomic.write_bytes(target, data)
    target.chmod(0o444)


def share_folder(source: Path, target: Path) -> None:
    """Make the new folder ``target`` with the files of ``source``, links where both runs lie in one
    folder. Raises OSError."""
    import shutil

    target.mkdir()
    together = source.parent.parent.resolve() == target.parent.parent.resolve()
    for path in sorted(source.iterdir()):
        large = path.is_file() and not path.is_symlink() and path.stat().st_size >= _SMALL
        if not (together and large and _linked(path, target / path.name)):
            shutil.copy(path, target / path.name)


def _runs(out: Path) -> Iterator[Path]:
    """Newest first."""
    yield from reversed(known_runs([out]))


def _holds(path: Path, data: bytes) -> bool:
    """Whether it is a file of this account with these bytes: they are read, not believed."""
    try:
        status = os.lstat(path)
        if not stat.S_ISREG(status.st_mode) or status.st_size != len(data):
            return False
        left = memoryview(data)
        with path.open("rb") as stream:
            while block := stream.read(_BLOCK):
                if block != left[: len(block)]:
                    return False
                left = left[len(block) :]
    except OSError:
        return False
    return not left


def _linked(path: Path, target: Path) -> bool:
    """False where the file system has no links, has too many, or does not give this one; and for a
    file of another account, which could change it."""
    with suppress(OSError):
        if os.lstat(path).st_uid == os.geteuid():
            os.link(path, target)
            return True
    return False
