"""The Singularity Image Format: written whole, with given times and identity, and read.

``singularity sif add`` stamps the clock and a random UUID into the file, so the file is written
here. Layout after the types ``header`` and ``rawDescriptor`` of sylabs/sif v2 (pkg/sif/sif.go,
pkg/sif/descriptor.go), checked against files made by Apptainer 1.4.5: all integers little-endian,
no padding between fields.
"""

from __future__ import annotations

import shutil
import struct
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, List, Sequence, Tuple, Union

LAUNCH = b"#!/usr/bin/env run-singularity\n"
MAGIC = b"SIF_MAGIC"
VERSION = b"01"
AMD64 = b"02"
#: launch, magic, version, arch, UUID, created, modified, descriptors free, total, their offset,
#: their size, data offset, data size
HEADER = struct.Struct("<32s10s3s3s16s8q")
#: type, used, id, group, link, offset, size, size with padding, created, modified, uid, gid,
#: name, extra
DESCRIPTOR = struct.Struct("<i?III7q128s384s")
DESCRIPTORS = 48
DESCRIPTORS_AT = 4096
DATA_AT = DESCRIPTORS_AT + DESCRIPTORS * DESCRIPTOR.size
GROUP = 0xF0000000  # flag of group numbers
ALIGNMENT = 4096

DEFINITION, LABELS, PARTITION, GENERIC_JSON, SBOM = 0x4001, 0x4003, 0x4004, 0x4006, 0x4009
#: file system squashfs, primary system partition, architecture
SQUASHFS_SYSTEM = struct.pack("<ii3s", 1, 2, AMD64)
CYCLONEDX_JSON = struct.pack("<i", 1)


class NotSif(Exception):
    """The file is not a SIF file, or is cut off."""


@dataclass(frozen=True)
class SifInput:
    """One object to write; ``content`` is its bytes or the file that holds them."""

    kind: int
    name: str
    content: Union[bytes, Path]
    extra: bytes = b""

    @property
    def size(self) -> int:
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size


@dataclass(frozen=True)
class SifObject:
    """One object that a file has."""

    id: int
    kind: int
    name: str
    offset: int
    size: int


def write_sif(
    stream: BinaryIO, objects: Sequence[SifInput], *, identity: uuid.UUID, timestamp: int
) -> None:
    """Write a SIF file whose bytes depend on the arguments only; the caller syncs the stream."""
    if len(objects) > DESCRIPTORS:
        raise ValueError(f"a SIF file has room for {DESCRIPTORS} objects, not {len(objects)}")
    end = DATA_AT
    table: List[bytes] = []
    places: List[Tuple[int, SifInput]] = []
    for number, one in enumerate(objects, start=1):
        offset = -(-end // ALIGNMENT) * ALIGNMENT
        padded = offset - end + one.size
        table.append(_descriptor(number, one, offset, padded, timestamp))
        places.append((offset, one))
        end = offset + one.size
    header = HEADER.pack(
        LAUNCH, MAGIC, VERSION, AMD64, identity.bytes, timestamp, timestamp,
        DESCRIPTORS - len(objects), DESCRIPTORS, DESCRIPTORS_AT, DATA_AT - DESCRIPTORS_AT,
        DATA_AT, end - DATA_AT,
    )  # fmt: skip
    _write_at(stream, 0, header)
    _write_at(stream, DESCRIPTORS_AT, b"".join(table).ljust(DATA_AT - DESCRIPTORS_AT, b"\0"))
    for offset, one in places:
        if isinstance(one.content, bytes):
            _write_at(stream, offset, one.content)
        else:
            _write_at(stream, offset, b"")
            with one.content.open("rb") as source:
                shutil.copyfileobj(source, stream, 1 << 20)


def _descriptor(number: int, one: SifInput, offset: int, padded: int, timestamp: int) -> bytes:
    name = one.name.encode("ascii")
    if len(name) > 128:
        raise ValueError(f"the name of a SIF object has at most 128 bytes: {one.name!r}")
    return DESCRIPTOR.pack(
        one.kind, True, number, GROUP | 1, 0, offset, one.size, padded,
        timestamp, timestamp, 0, 0, name, one.extra,
    )  # fmt: skip


def _write_at(stream: BinaryIO, offset: int, data: bytes) -> None:
    """Append, after zeros up to ``offset``."""
    stream.write(b"\0" * (offset - stream.tell()))
    stream.write(data)


def list_objects(path: Path) -> List[SifObject]:
    """The objects of a SIF file, in its order. Raises NotSif."""
    with path.open("rb") as stream:
        raw = stream.read(HEADER.size)
        if len(raw) < HEADER.size or not raw[32:].startswith(MAGIC + b"\0"):
            raise NotSif(f"{path}: is not a SIF file")
        total, start = HEADER.unpack(raw)[8:10]
        if not (0 <= total <= 4096 and start >= 0):
            raise NotSif(f"{path}: is not a SIF file that makes sense: its table is at {start}")
        stream.seek(start)
        table = stream.read(total * DESCRIPTOR.size)
    if len(table) < total * DESCRIPTOR.size:
        raise NotSif(f"{path}: is cut off in its table of objects")
    size = path.stat().st_size
    found = []
    for entry in DESCRIPTOR.iter_unpack(table):
        kind, used, number, _, _, offset, length, *_, name, _ = entry
        if not used:
            continue
        if offset + length > size:
            raise NotSif(f"{path}: is cut off: object {number} ends at {offset + length}")
        text = name.rstrip(b"\0").decode("utf-8", "replace")
        found.append(SifObject(number, kind, text, offset, length))
    return found


def read_sif_object(path: Path, kind: int) -> bytes:
    """Bytes of the only object of that kind. Raises NotSif when there is none, or several."""
    matching = [one for one in list_objects(path) if one.kind == kind]
    if len(matching) != 1:
        raise NotSif(f"{path}: has {len(matching)} objects of type {kind:#x}, expected 1")
    with path.open("rb") as stream:
        stream.seek(matching[0].offset)
        return stream.read(matching[0].size)
