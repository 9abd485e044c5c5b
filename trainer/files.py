"""Files of a run: whole or not at all, or growing line by line; a full disk is said so."""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator

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
    with saving(target):
        temporary = _write_beside(target, data)
        try:
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def write_first(target: Path, data: bytes) -> bool:
    """Write ``target`` whole unless it is there already; True if this call wrote it.

    A hard link is the one step that fails when somebody else was first (also on NFS).
    Raises TrainerError when the file system refuses.
    """
    with saving(target):
        temporary = _write_beside(target, data)
        try:
            target.hardlink_to(temporary)
        except FileExistsError:
            return False
        finally:
            temporary.unlink(missing_ok=True)
    return True


def _write_beside(target: Path, data: bytes) -> Path:
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def json_bytes(value: Any) -> bytes:
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    return text.encode("utf-8")


class JsonLines:
    """A file that gets one JSON value per line; each line reaches the system when written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with saving(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = path.open("wb", buffering=0)

    def append(self, value: Any) -> None:
        line = json.dumps(value, ensure_ascii=False, allow_nan=True) + "\n"
        with saving(self.path):
            self._stream.write(line.encode("utf-8"))

    def close(self) -> None:
        with saving(self.path):
            self._stream.close()
