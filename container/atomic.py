"""Files appear whole or not at all: written beside the target, synced, renamed."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Iterator, List, Sequence

from container.trouble import Trouble

#: What mkstemp adds to a prefix.
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789_"


@contextmanager
def replacing(target: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside ``target``; rename it over the target when the block ends well.

    A symbolic link stays, and what it names is replaced. On any exception the temporary file is
    removed and the target is as it was. Raises Trouble for a target that is there and no regular
    file (a folder, a device, a pipe) or whose folder is not there; errors of the disk name it.
    """
    target = target.resolve()
    temporary = _name_beside(target)
    try:
        with os.fdopen(_new_file(temporary, target), "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(target)
    except BaseException as error:
        _remove(temporary)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(target)
        raise


@contextmanager
def replacing_unnamed(target: Path) -> Iterator[BinaryIO]:
    """As :func:`replacing`, for large files: the file has no name until the block ends, so that a
    process that is killed leaves nothing (open(2), O_TMPFILE). Where the file system cannot do
    this, it is :func:`replacing`.
    """
    target = target.resolve()
    try:
        descriptor = os.open(target.parent, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o666)
    except OSError:
        with replacing(target) as stream:
            yield stream
        return
    try:
        with os.fdopen(descriptor, "w+b") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
            _give_name(stream.fileno(), target)
    except OSError as error:
        if error.filename is None:
            error.filename = str(target)
        raise


def write_behind(descriptor: int, offset: int, length: int) -> None:
    """Let the disk begin with these bytes, so that the wait for it at the end is short.

    What Linux does for POSIX_FADV_DONTNEED: it starts to write such pages, and forgets the clean
    ones (posix_fadvise(2)). A file system that does not has lost nothing.
    """
    with suppress(OSError):
        os.posix_fadvise(descriptor, offset, length, os.POSIX_FADV_DONTNEED)


def _give_name(descriptor: int, target: Path) -> None:
    """link(2) replaces nothing: where a file is, the name is a temporary one, then renamed."""
    name = _name_beside(target)

    def link(place: Path) -> None:
        # With a folder's descriptor, though it is not used, this is linkat(2), which follows.
        file = f"/proc/self/fd/{descriptor}"
        os.link(file, place, src_dir_fd=descriptor, follow_symlinks=True)

    try:
        try:
            link(target)
        except FileExistsError:
            link(name)
            name.replace(target)
    except BaseException:
        _remove(name)
        raise


def _name_beside(target: Path) -> Path:
    """A name for a temporary file, as mkstemp would give it; it is made by whoever removes it when
    a signal comes. Raises Trouble as :func:`replacing`."""
    if target.exists() and not target.is_file():
        raise Trouble(f"{target}: is not a regular file", "name another file")
    if not target.parent.is_dir():
        if target.parent.exists():
            raise Trouble(f"{target}: {target.parent} is not a folder", "name another")
        raise Trouble(f"{target}: there is no folder {target.parent}", "make it, or name another")
    while True:
        end = "".join(_LETTERS[byte % len(_LETTERS)] for byte in os.urandom(8))
        name = target.with_name(f".{target.name}.{end}")
        try:
            name.lstat()
        except FileNotFoundError:
            return name
        except OSError as error:
            raise type(error)(error.errno, error.strerror, str(target)) from error


def _new_file(name: Path, target: Path) -> int:
    """Its descriptor. Errors name the target."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(name, flags, 0o600)
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(target)) from error


def _try_writing(target: Path) -> None:
    """Make a file beside ``target``; one without a name where the file system can, because a
    signal may come at any time."""
    name = _name_beside(target)
    try:
        os.close(os.open(target.parent, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except OSError:
        try:
            os.close(_new_file(name, target))
        finally:
            _remove(name)


def _remove(temporary: Path) -> None:
    with suppress(OSError):  # why it could not be made is said already
        temporary.unlink()


def place(data: bytes, target: str, *, scratch: str, modified_ns: int) -> None:
    """Write one of very many files: whole or not at all, whatever happens to this process.

    It is written in the folder ``scratch`` of the same file system, given its modification time and
    renamed. Nothing waits for the disk, so a crash of the machine may leave a shorter file: whoever
    calls this must be able to tell. A link in the place of the target is replaced. One thread of a
    process may call it at a time. Raises OSError with the target's name.
    """
    temporary = Path(scratch, str(os.getpid()))
    try:
        with temporary.open("wb") as stream:
            stream.write(data)
        os.utime(temporary, ns=(modified_ns, modified_ns))
        temporary.replace(target)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, target) from error


def write_bytes(target: Path, data: bytes) -> None:
    with replacing(target) as stream:
        stream.write(data)


def write_json(target: Path, value: Any) -> None:
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    write_bytes(target, text.encode("utf-8"))


@contextmanager
def prepared(*targets: Path, next_step: str = "name another file") -> Iterator[None]:
    """Before long work: make the folders of the files that it will write, and try to write there.

    Raises Trouble at once where a file cannot be written. Folders that were made are removed when
    the block ends with an exception and nothing lies in them.
    """
    made: List[Path] = []
    try:
        _prepare(targets, made, next_step)
        yield
    except BaseException:
        for folder in reversed(made):
            with suppress(OSError):
                folder.rmdir()
        raise


def _prepare(targets: Sequence[Path], made: List[Path], next_step: str) -> None:
    for target in targets:
        try:
            _make_folders(target.resolve().parent, made)
            _try_writing(target.resolve())
        except OSError as error:
            raise Trouble(f"{target}: cannot be written: {error.strerror}", next_step) from error


def _make_folders(folder: Path, made: List[Path]) -> None:
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        made.append(path)
