"""The steps of `import`: an export is checked, and its run directory made, whole or not at all"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Set

from container.reachable import file_problem
from container.shell_word import shell_word
from container.trouble import Trouble, first_of
from manifests.crate.names import DESCRIPTIONS
from manifests.host.context import HostContext
from manifests.record.alteration import was_altered
from manifests.record.run_files import RunFiles
from manifests.record.schema import Manifest
from manifests.rundir.directory import Taken, create_run, refuse_unwritable
from manifests.rundir.export_check import (
    LOOKED_AT,
    NOT_THE_RUN,
    Contents,
    content_problems,
    manifest_in,
)
from manifests.rundir.export_file import HEAD, SUMS, ExportFile
from manifests.rundir.export_head import AGAIN, NOT_ONE, ExportHead, HeadFault
from manifests.rundir.records import Warn, ignore
from manifests.rundir.tar_members import Entry, TarFault

_TRAIL = "results/trail/"
_ELSEWHERE = "name another folder: import FILE DIR"
#: Bytes that a table may have, and a record, which takes twenty times its size when it is parsed:
#: they are kept in memory.
MOST_LOOKED_AT = 1 << 30
MOST_OF_A_RECORD = 1 << 26


@dataclass(frozen=True)
class Imported:
    """``files`` is the run directory; None where nothing was to be placed."""

    head: ExportHead
    manifest: Manifest
    files: Optional[RunFiles]


def import_run(
    file: Path, out: Path, host: HostContext, *, check_only: bool = False, warn: Warn = ignore
) -> Imported:
    """Check the export and make its run directory below ``out``. No network is used.

    What is read goes into a hidden folder below ``out``, which gets its name when everything has
    been found right; with ``check_only`` it goes nowhere. Raises Trouble for a file that is not a
    whole export, or holds something else than its digests and its manifest say; nothing is left
    then.
    """
    with _opened(file) as export, _faults_named(file):
        if check_only:
            manifest = _read(export, file, None, host, warn)
            return Imported(export.head, manifest, None)
        found: List[Manifest] = []

        def fill(files: RunFiles) -> None:
            found.append(_read(export, file, files.root, host, warn))

        out = out.resolve()
        _refuse_place(out, export.head)
        try:
            files = create_run(out, export.head.run, fill, elsewhere=_ELSEWHERE)
        except Taken as taken:  # by another import, meanwhile
            raise _there_already(out / export.head.run) from taken
        return Imported(export.head, found[0], files)


def _read(
    export: ExportFile, file: Path, root: Optional[Path], host: HostContext, warn: Warn
) -> Manifest:
    """Read all of it, into the folder ``root`` where there is one. Raises Trouble."""
    placer = _Placer(root)
    wrong, sums = [], {}
    with host.progress.track("import", export.head.size, "B") as advance:
        for arrived in export.read_members(placer.open, advance):
            sums[arrived.name] = arrived.sha256
            if arrived.sha256 != arrived.expected:
                wrong.append(
                    f"{file}: {arrived.name} {was_altered(arrived.sha256, arrived.expected)}"
                )
    if wrong:
        raise Trouble(first_of(wrong), AGAIN)
    contents = placer.contents(sums)
    manifest = manifest_in(contents, str(file), warn)
    problems = content_problems(export.head, manifest, contents, str(file), warn)
    if problems:
        raise Trouble([f"{file}: {text}" for text in first_of(problems)], NOT_THE_RUN)
    placer.place(HEAD, export.head_text)
    placer.place(SUMS, export.sums_text())
    return manifest


@contextmanager
def _opened(file: Path) -> Iterator[ExportFile]:
    why = file_problem(file)  # asked first: opening a pipe would wait for somebody who writes
    if why:
        raise Trouble(f"{file}: {why}", NOT_ONE)
    try:
        with _faults_named(file):
            export = ExportFile(file)
    except OSError as error:
        raise Trouble(f"{file}: cannot be read: {error.strerror}", NOT_ONE) from error
    with export:
        yield export


@contextmanager
def _faults_named(file: Path) -> Iterator[None]:
    try:
        yield
    except TarFault as fault:
        step = NOT_ONE if str(fault).startswith("is not an export") else AGAIN
        raise Trouble(f"{file}: {fault}", step) from fault
    except HeadFault as fault:
        raise Trouble([f"{file}: {text}" for text in fault.problems], fault.next_step) from fault
    except OSError as error:
        if error.filename is not None:  # of what is written
            raise
        raise Trouble(f"{file}: cannot be read: {error.strerror}", AGAIN) from error


def _refuse_place(out: Path, head: ExportHead) -> None:
    """Raise Trouble where the run cannot be placed, before anything is read."""
    root = out / head.run
    if os.path.lexists(root):
        raise _there_already(root)
    refuse_unwritable(out, _ELSEWHERE)
    there = next(path for path in (out, *out.parents) if path.is_dir())
    free = shutil.disk_usage(there).free
    if free < head.size:
        raise Trouble(
            f"{out}: the run needs {head.size / 1e6:.1f} MB, and {free / 1e6:.1f} MB are free",
            _ELSEWHERE,
        )


def _there_already(root: Path) -> Trouble:
    return Trouble(
        f"{root}: exists already",
        f"see whether it is whole: python bundle.py verify {shell_word(root)}; or " + _ELSEWHERE,
    )


class _Placer:
    """Takes the members as they are read: into new files below ``root``, where there is one; those
    that are looked at into memory, and the digest of the trail."""

    def __init__(self, root: Optional[Path]) -> None:
        self._root = root
        self._folders: Set[str] = set()
        self._modes: Dict[str, int] = {}
        self._kept: Dict[str, bytearray] = {}
        self._trail = hashlib.sha256()

    def open(self, entry: Entry) -> _Target:
        most = MOST_OF_A_RECORD if entry.name.endswith(".json") else MOST_LOOKED_AT
        if entry.name in LOOKED_AT and entry.size > most:
            raise TarFault(f"has {entry.name!r} with {entry.size} bytes")
        self._modes[entry.name] = entry.mode
        kept = self._kept.setdefault(entry.name, bytearray()) if entry.name in LOOKED_AT else None
        trail = self._trail if entry.name.startswith(_TRAIL) else None
        return _Target(
            f"{self._root}/{entry.name}", self._new_file(entry.name, entry.mode), kept, trail
        )

    def _new_file(self, name: str, mode: int) -> Optional[int]:
        if self._root is None:
            return None
        folder, _, _ = name.rpartition("/")
        try:
            if folder not in self._folders:
                (self._root / folder).mkdir(parents=True, exist_ok=True)
                self._folders.add(folder)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            return os.open(f"{self._root}/{name}", flags, mode)
        except (FileExistsError, NotADirectoryError) as error:
            raise TarFault(f"has {name!r} below a file, or as a file and a folder") from error
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise TarFault(f"has a name that is too long here: {name!r}") from error
            raise

    def place(self, name: str, content: bytes) -> None:
        if self._root is not None:
            (self._root / name).write_bytes(content)

    def contents(self, sums: Dict[str, str]) -> Contents:
        kept = {name: bytes(content) for name, content in self._kept.items()}
        return Contents(sums, self._modes, kept, self._trail.hexdigest(), DESCRIPTIONS)


class _Target:
    """Where the content of one member goes; faults of writing have the name of its file."""

    def __init__(
        self,
        path: str,
        descriptor: Optional[int],
        kept: Optional[bytearray],
        digest: Optional[hashlib._Hash],
    ) -> None:
        self._path = path
        self._descriptor = descriptor
        self._kept = kept
        self._digest = digest

    def take(self, data: memoryview) -> None:
        if self._kept is not None:
            self._kept += data
        if self._digest is not None:
            self._digest.update(data)
        try:
            while self._descriptor is not None and data:
                data = data[os.write(self._descriptor, data) :]
        except OSError as error:
            raise type(error)(error.errno, error.strerror, self._path) from error

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
