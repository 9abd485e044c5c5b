"""Export files written and read: `export.json`, `SHA256SUMS`, then all members by name, once each

The order and all bytes follow from the members. Sizes stand in the head, so a file that is cut off
is found before any of it is read.
"""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Callable, Iterator, List, Optional, Protocol, Sequence, Tuple, Union

from container.atomic import write_behind
from container.progress import Advance
from manifests.record.alteration import was_altered
from manifests.rundir.export_head import LARGEST, ExportHead, parse_head
from manifests.rundir.hashed_flow import HashedFlow, Passed, Take
from manifests.rundir.tar_members import (
    BLOCK,
    END,
    Entry,
    TarFault,
    header,
    name_problem,
    padding,
    parse_sum,
    read_entry,
    room_of,
    sum_line,
)

HEAD = "export.json"
SUMS = "SHA256SUMS"
#: Bytes that are read from an export at once.
_BUFFERED = 1 << 16
#: Bytes after which the disk begins with what was written.
_WRITTEN_BEHIND = 1 << 24
_NO_DIGEST = "0" * 64


@dataclass(frozen=True)
class Member:
    """A file of an export: its ``name`` below the run directory, its content, by path or as bytes.

    ``expected`` is the sha256 that its content must have, ``also`` gets its bytes.
    """

    name: str
    source: Union[str, bytes]
    size: int
    mode: int = 0o644
    expected: Optional[str] = None
    also: Optional[Take] = None


def of_bytes(name: str, content: bytes) -> Member:
    return Member(name, content, len(content))


# --- writing --------------------------------------------------------------------------------


def head_for(head: ExportHead, members: Sequence[Member]) -> ExportHead:
    """``head`` with the counts of its members, which are sorted by name."""
    sums = sum(len(sum_line(_NO_DIGEST, member.name)) for member in members)
    names = f"{head.run}/"
    room = sum(room_of(names + member.name, member.size) for member in members)
    return head.model_copy(
        update={
            "files": len(members),
            "size": sum(member.size for member in members),
            "size_after": room_of(names + SUMS, sums) + room + len(END),
        }
    )


def whole_size(head: ExportHead) -> int:
    return room_of(f"{head.run}/{HEAD}", len(head.text())) + head.size_after


def write_export(
    stream: BinaryIO, head: ExportHead, members: Sequence[Member], advance: Advance
) -> Tuple[ExportHead, List[str]]:
    """Write all of it; return the head as written, and what is not as the members say.

    The digests are known when all is written, so head and list are filled in at the end. Where
    there are problems the file is of no use.
    """
    sums_size = sum(len(sum_line(_NO_DIGEST, member.name)) for member in members)
    start = whole_size(head) - head.size_after + room_of(f"{head.run}/{SUMS}", sums_size)
    stream.seek(start)
    copied = []
    with HashedFlow() as flow:
        copier = _Copier(stream, flow, advance)
        for member in members:
            stream.write(header(f"{head.run}/{member.name}", member.size, member.mode))
            copied.append(copier.copy(member))
            stream.write(padding(member.size))
    stream.write(END)
    problems = [
        f"{member.name}: {problem}"
        for member, found in zip(members, copied)
        if (problem := _problem(member, found))
    ]
    text = b"".join(
        sum_line(_NO_DIGEST if isinstance(found, SourceFault) else found.sha256, member.name)
        for member, found in zip(members, copied)
    )
    head = head.model_copy(update={"sums_sha256": hashlib.sha256(text).hexdigest()})
    stream.seek(0)
    for name, content in ((HEAD, head.text()), (SUMS, text)):
        stream.write(header(f"{head.run}/{name}", len(content), 0o644))
        stream.write(content + padding(len(content)))
    return head, problems


def _problem(member: Member, copied: Union[Passed, SourceFault]) -> str:
    if isinstance(copied, SourceFault):
        return f"cannot be read: {copied}"
    if copied.size != member.size:
        return f"had {member.size} bytes, and {copied.size} when it was read"
    if member.expected not in (None, copied.sha256):
        return was_altered(copied.sha256, str(member.expected))
    return ""


class _Copier:
    def __init__(self, stream: BinaryIO, flow: HashedFlow, advance: Advance) -> None:
        self._stream = stream
        self._flow = flow
        self._advance = advance
        self._behind = 0  # bytes that the disk has not begun with

    def copy(self, member: Member) -> Union[Passed, SourceFault]:
        source, take = member.source, self._taker(member)
        try:
            if isinstance(source, bytes):
                return self._flow.run(io.BytesIO(source).readinto, take)
            return self._from_file(source, take)
        except SourceFault as fault:
            return fault

    def _from_file(self, source: str, take: Take) -> Passed:
        def read(buffer: memoryview) -> int:
            try:
                return os.readv(descriptor, [buffer])
            except OSError as error:
                raise SourceFault(error.strerror) from error

        try:
            descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise SourceFault(error.strerror) from error
        try:
            return self._flow.run(read, take)
        finally:
            os.close(descriptor)

    def _taker(self, member: Member) -> Take:
        left = member.size

        def take(block: memoryview) -> None:
            nonlocal left
            self._stream.write(block[: max(left, 0)])
            left -= len(block)
            self._write_behind(len(block))
            if member.also is not None:
                member.also(block)
            self._advance(len(block))

        return take

    def _write_behind(self, written: int) -> None:
        self._behind += written
        if self._behind >= _WRITTEN_BEHIND:
            start = self._stream.tell() - self._behind
            write_behind(self._stream.fileno(), start, self._behind)
            self._behind = 0


class SourceFault(Exception):
    """A member's source cannot be read; the text is the system's."""


# --- reading --------------------------------------------------------------------------------


class Target(Protocol):
    """What gets the content of one member."""

    def take(self, data: memoryview) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Arrived:
    """A member that was read: the digest of what it held, and the one that it was to have."""

    name: str
    sha256: str
    expected: str


class ExportFile:
    """An open export whose head, size and list of members fit together.

    A member's content is checked when it is read: see :meth:`read_members`.
    """

    def __init__(self, path: Path) -> None:
        """Raises TarFault or HeadFault for anything but a whole export of a known version,
        OSError for a file that cannot be read."""
        self.path = path
        self._stream: BinaryIO = path.open("rb", buffering=_BUFFERED)
        try:
            self._open()
        except BaseException:
            self._stream.close()
            raise

    def _open(self) -> None:
        size = os.fstat(self._stream.fileno()).st_size
        first = _first_entry(self._stream)
        text = self._content(first)
        self.head = head = parse_head(text)
        if first.name != f"{head.run}/{HEAD}":
            raise TarFault(f"was altered: it begins with {first.name!r}")
        expected = self._stream.tell() + head.size_after
        if size != expected:
            wrong = "is cut off" if size < expected else "is too long"
            raise TarFault(f"{wrong}: it has {size} bytes, expected {expected}")
        self.head_text = text
        entry = read_entry(self._stream)
        if entry.name != f"{head.run}/{SUMS}":
            raise TarFault(f"was altered: expected {SUMS} after {HEAD}, found {entry.name!r}")
        self._sums_at, self._sums_size = self._stream.tell(), entry.size
        self._check_sums()
        self._members_at = self._sums_at + entry.size + -entry.size % BLOCK

    def _content(self, entry: Entry) -> bytes:
        data = self._stream.read(entry.size + -entry.size % BLOCK)
        if len(data) != entry.size + -entry.size % BLOCK:
            raise TarFault("is cut off")
        return data[: entry.size]

    def __enter__(self) -> ExportFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def sums_text(self) -> bytes:
        self._stream.seek(self._sums_at)
        return self._stream.read(self._sums_size)

    def _check_sums(self) -> None:
        digest = hashlib.sha256()
        count, before = 0, ""
        for line in self._sum_lines():
            digest.update(line)
            found = parse_sum(line[:-1])
            if found is None or not line.endswith(b"\n"):
                raise TarFault(f"was altered: line {count + 1} of {SUMS} is not one of it")
            name, _ = found
            problem = name_problem(name)
            if problem:
                raise TarFault(f"has a file whose name {name!r} {problem}")
            if name in (HEAD, SUMS):
                raise TarFault(f"has a second {name}")
            if count and name.encode() <= before.encode():
                again = "twice" if name == before else "not in the order of names"
                raise TarFault(f"has {name!r} {again}")
            count, before = count + 1, name
        if digest.hexdigest() != self.head.sums_sha256:
            raise TarFault(
                f"has a {SUMS} that {was_altered(digest.hexdigest(), self.head.sums_sha256)}"
            )
        if count != self.head.files:
            raise TarFault(f"has {count} files, its {HEAD} says {self.head.files}")

    def _sum_lines(self) -> Iterator[bytes]:
        with self.path.open("rb") as stream:
            stream.seek(self._sums_at)
            left = self._sums_size
            while left > 0:
                line = stream.readline(min(left, LARGEST))
                if not line:
                    raise TarFault("is cut off")
                left -= len(line)
                yield line

    def sums(self) -> Iterator[Tuple[str, str]]:
        """(name, sha256) of each member in its order."""
        for line in self._sum_lines():
            found = parse_sum(line[:-1])
            assert found is not None
            yield found

    def read_members(self, opened: Callable[[Entry], Target], advance: Advance) -> List[Arrived]:
        """Read all members in their order; the content of one goes to what ``opened`` gives.

        Raises TarFault where the file is not one that was written by export.
        """
        prefix = f"{self.head.run}/"
        self._stream.seek(self._members_at)
        left = self.head.size
        arrived = []
        with HashedFlow() as flow:
            for name, expected in self.sums():
                entry = read_entry(self._stream)
                if entry.name != prefix + name:
                    found = entry.name
                    raise TarFault(f"was altered: expected {prefix + name!r}, found {found!r}")
                left -= entry.size
                if left < 0:
                    raise TarFault(f"was altered: {name!r} says that it has {entry.size} bytes")
                entry = entry._replace(name=name)
                passed = self._copy(entry, flow, opened(entry), advance)
                arrived.append((name, passed, expected))
        if left or self._stream.read(len(END) + 1) != END:
            raise TarFault("was altered: its members do not have the sizes that it says")
        return [Arrived(name, passed.sha256, expected) for name, passed, expected in arrived]

    def _copy(self, entry: Entry, flow: HashedFlow, target: Target, advance: Advance) -> Passed:
        left = entry.size

        def read(buffer: memoryview) -> int:
            nonlocal left
            count: int = self._stream.readinto(buffer[: min(left, len(buffer))])  # type: ignore[attr-defined]
            if left and not count:
                raise TarFault("is cut off")
            left -= count
            return count

        def take(block: memoryview) -> None:
            target.take(block)
            advance(len(block))

        try:
            passed = flow.run(read, take)
        finally:
            target.close()
        if self._stream.read(-entry.size % BLOCK).strip(b"\0"):
            raise TarFault(f"was altered: there is something after the end of {entry.name!r}")
        return passed


def _first_entry(stream: BinaryIO) -> Entry:
    try:
        entry = read_entry(stream)
    except TarFault as fault:
        raise TarFault(f"is not an export of a run: it {fault}") from fault
    if entry.name.count("/") != 1 or not entry.name.endswith(f"/{HEAD}") or entry.size > LARGEST:
        raise TarFault(f"is not an export of a run: it begins with {entry.name!r}")
    return entry
