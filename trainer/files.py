"""Files of a run: whole or not at all, or growing line by line; a full disk is said so."""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Iterator

from manifests.record.checkpoint import Prefix
from manifests.record.json_numbers import json_line, json_text
from manifests.record.run_files import temporaries, temporary_prefix
from trainer.trouble import TrainerError


@contextmanager
def saving(target: Path) -> Iterator[None]:
    """Turn an OSError inside into a TrainerError that names ``target``."""
    try:
        yield
    except OSError as error:
        raise TrainerError(
            f"{target} cannot be written: {error.strerror or error}",
            f"make room or give permission below {target.parent}, then start the run again",
        ) from error


def write_whole(target: Path, data: bytes) -> None:
    """Write beside ``target``, sync, rename; after a failure no trace is left.

    Raises TrainerError when the file system refuses.
    """
    with replacing(target) as stream:
        stream.write(data)


@contextmanager
def replacing(target: Path) -> Iterator[BinaryIO]:
    """A stream beside ``target``, which takes its name when the block ends without an error.

    Raises TrainerError when the file system refuses.
    """
    with saving(target), _beside(target) as (stream, temporary):
        yield stream
        _settle(stream, temporary)
        temporary.replace(target)


def write_first(target: Path, data: bytes) -> bool:
    """Write ``target`` whole unless it is there already; True if this call wrote it.

    A hard link is the one step that fails when somebody else was first (also on NFS).
    Raises TrainerError when the file system refuses.
    """
    with saving(target), _beside(target) as (stream, temporary):
        stream.write(data)
        _settle(stream, temporary)
        try:
            target.hardlink_to(temporary)
        except FileExistsError:
            return False
    return True


@contextmanager
def _beside(target: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """A temporary file, gone at the end unless it got another name."""
    descriptor, name = tempfile.mkstemp(prefix=temporary_prefix(target), dir=target.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream, temporary
    finally:
        temporary.unlink(missing_ok=True)


def sweep_leftovers(*targets: Path) -> None:
    """Remove what a writer of ``targets`` left that was killed; nobody may be writing one now.

    Raises TrainerError when the file system refuses.
    """
    for target in targets:
        with saving(target):
            for path in temporaries(target):
                path.unlink(missing_ok=True)


def _settle(stream: BinaryIO, temporary: Path) -> None:
    """All bytes on the disk, and the mode that a file has which a person makes."""
    stream.flush()
    os.fsync(stream.fileno())
    umask = os.umask(0)
    os.umask(umask)
    temporary.chmod(0o666 & ~umask)


def json_bytes(value: Any) -> bytes:
    return f"{json_text(value)}\n".encode()


class JsonLines:
    """A file that gets one JSON value per line; each line reaches the system when written."""

    def __init__(self, path: Path, keep: int = 0) -> None:
        """Begin after the first ``keep`` bytes of the file; the rest of it is cut off."""
        self.path = path
        with saving(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            kept = path.read_bytes()[:keep] if keep else b""
            self._stream = path.open("r+b" if keep else "wb", buffering=0)
            if keep:
                self._stream.truncate(keep)
                self._stream.seek(keep)
        self._length = keep
        self._sha256 = hashlib.sha256(kept)

    def append(self, value: Any) -> None:
        line = f"{json_line(value)}\n".encode()
        with saving(self.path):
            left = memoryview(line)
            while left:  # a nearly full disk takes a part of it, and refuses the next
                left = left[self._stream.write(left) :]
        self._length += len(line)
        self._sha256.update(line)

    def settled(self) -> Prefix:
        """What the file holds now; it is on the disk when this returns."""
        with saving(self.path):
            os.fsync(self._stream.fileno())
        return Prefix(length=self._length, sha256=self._sha256.hexdigest())

    def close(self) -> None:
        with saving(self.path):
            self._stream.close()
