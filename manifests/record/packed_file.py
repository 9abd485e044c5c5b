"""Packed files (``loadtype: custom``): the pixels of a list's images in one file, and its reader.

The host writes packed files and checks them against lists and tables; the trainer reads them. One
reader for both sides refuses the same files.

The form, version 1.0; docs/packed-data.md says what it is for. Numbers are little-endian, N is the
number of samples, a page is 4096 bytes.

    =================  ===========  ==========================================================
    at                 bytes        what
    =================  ===========  ==========================================================
    0                  8            :data:`MAGIC`
    8                  2, 2         major and minor version of the form
    12                 4            H, the length of the header
    16                 32           sha256 of header and index, one after the other
    48                 H            header: :class:`Header` as canonical JSON
    next whole page    32 N         index: sha256 of each image file
    right after        32 N         index: sha256 of each record
    right after        ``paths``    index: path of each image as in the list, UTF-8, and a newline
    next whole page    196608 N     records: uint8 (3, 256, 256), RGB planes
    =================  ===========  ==========================================================
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import List, NamedTuple, Optional, Tuple

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import Literal

from manifests.record.canonical_json import canonical_json
from manifests.record.keys import IMAGE_SIDE

MAGIC = b"\x93BPACK\r\n"
VERSION = (1, 0)
SHAPE = (3, IMAGE_SIDE, IMAGE_SIDE)
#: Bytes of one record: whole pages.
RECORD = 3 * IMAGE_SIDE * IMAGE_SIDE

#: madvise(2): read the pages in and map them, or say why not (Linux 5.14; Python 3.11 lacks it).
_POPULATE_READ = 22
#: Records that are read in place before the file is mapped anew: bounds the page tables, which for
#: ImageNet would come to half a gigabyte in each process.
_MAPPED = 4096

_PAGE = 4096
_DIGEST = 32
_PREAMBLE = struct.Struct("<8sHHI32s")
_LONGEST_HEADER = 1 << 16


class PackFault(Exception):
    """What is wrong with a packed file: a sentence without its subject."""


class Decoder(BaseModel):
    """What turned image files into pixels; another version may round otherwise."""

    model_config = ConfigDict(frozen=True)

    pillow: str
    libjpeg_turbo: str

    def __str__(self) -> str:
        return f"Pillow {self.pillow} and libjpeg-turbo {self.libjpeg_turbo}"


def own_decoder() -> Decoder:
    """The decoder of this process."""
    import PIL
    from PIL import features

    libjpeg_turbo = features.version("libjpeg_turbo") or "none"
    return Decoder(pillow=PIL.__version__, libjpeg_turbo=libjpeg_turbo)


class Header(BaseModel):
    """``paths`` are the bytes that the paths of the index take. Minor versions may add fields."""

    model_config = ConfigDict(frozen=True)

    decoder: Decoder
    paths: int = Field(ge=0)
    samples: int = Field(ge=1)
    shape: Tuple[Literal[3], Literal[256], Literal[256]] = (3, 256, 256)

    def text(self) -> bytes:
        return canonical_json(self.model_dump(mode="json"))


class Layout(NamedTuple):
    """Where index and records of a packed file begin, and where it ends, in bytes."""

    index_at: int
    records_at: int
    end: int


def layout_of(header: Header, length: int) -> Layout:
    """``length`` is that of the header's text in bytes."""
    index_at = _to_page(_PREAMBLE.size + length)
    records_at = _to_page(index_at + _index_size(header))
    return Layout(index_at, records_at, records_at + RECORD * header.samples)


def _to_page(size: int) -> int:
    return -(-size // _PAGE) * _PAGE


def _index_size(header: Header) -> int:
    return 2 * _DIGEST * header.samples + header.paths


def preamble(header: bytes, index: bytes) -> bytes:
    """The first bytes of a file with this header and this index."""
    checksum = hashlib.sha256(header)
    checksum.update(index)
    return _PREAMBLE.pack(MAGIC, *VERSION, len(header), checksum.digest())


def beside(list_file: Path) -> Path:
    """Where the packed file of a list lies, unless somebody says otherwise."""
    return list_file.parent / f"{list_file.stem}.pack"


class PackedFile:
    """An open packed file whose header and index are whole. A record is checked by who reads it.

    ``checksum`` is the sha256 of header and index, and these hold the digests of all records.

    The index is mapped: the processes of a node have it in memory once. Records are read from the
    page cache, which processes share as well: copied by :meth:`record`, or in place by
    :meth:`mapped`.
    """

    def __init__(self, path: Path) -> None:
        """Raises PackFault for anything but a whole packed file of a known version, OSError for a
        file that cannot be read."""
        self.path = path
        self._window = _Window()
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._open()
        except BaseException:
            os.close(self._descriptor)
            raise

    def _open(self) -> None:
        start = os.pread(self._descriptor, _PREAMBLE.size + _LONGEST_HEADER, 0)
        if not start.startswith(MAGIC):
            raise PackFault("is not a packed file")
        if len(start) < _PREAMBLE.size:
            raise PackFault("is cut off")
        _, major, minor, length, checksum = _PREAMBLE.unpack(start[: _PREAMBLE.size])
        if major != VERSION[0]:
            raise PackFault(
                f"is of version {major}.{minor}, this bundle reads version {VERSION[0]}.x"
            )
        text = start[_PREAMBLE.size :][:length]
        try:
            self.header = Header.model_validate(json.loads(text))
        except (ValueError, RecursionError) as error:
            raise PackFault("was altered: its header cannot be read") from error
        self._layout = layout = layout_of(self.header, length)
        size = os.fstat(self._descriptor).st_size
        if size != layout.end:
            wrong = "is cut off" if size < layout.end else "is too long"
            raise PackFault(f"{wrong}: it has {size} bytes, expected {layout.end}")
        self._head = mmap.mmap(self._descriptor, layout.records_at, access=mmap.ACCESS_READ)
        found = hashlib.sha256(text)
        with memoryview(self._head) as head:
            found.update(head[layout.index_at : layout.index_at + _index_size(self.header)])
        self.checksum = checksum
        if found.digest() != checksum:
            raise PackFault("was altered: its index does not fit its checksum")

    def __enter__(self) -> PackedFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._window = _Window()
        self._head.close()
        os.close(self._descriptor)

    def __len__(self) -> int:
        return self.header.samples

    def image_digest(self, index: int) -> bytes:
        """sha256 of the image file that record ``index`` was made of."""
        return self._digest(index)

    def record_digest(self, index: int) -> bytes:
        """sha256 that the bytes of record ``index`` must have."""
        return self._digest(len(self) + index)

    def _digest(self, place: int) -> bytes:
        at = self._layout.index_at + _DIGEST * place
        return self._head[at : at + _DIGEST]

    def paths(self) -> List[str]:
        """The image of each record as its list named it."""
        at = self._layout.index_at + 2 * _DIGEST * len(self)
        return self._head[at : at + self.header.paths].decode("utf-8").split("\n")[:-1]

    def record(self, index: int) -> bytes:
        """The bytes of record ``index``, unchecked. Raises OSError when they cannot be read."""
        return os.pread(self._descriptor, RECORD, self._layout.records_at + RECORD * index)

    def mapped(self, index: int) -> Optional[memoryview]:
        """The bytes of record ``index`` where they lie in the page cache, unchecked; None where
        they cannot be had so. It is for a reader who looks at once and then lets go.

        A mapped page that cannot be read kills the process without a word. The kernel is asked
        for the pages first, and tells. A kernel that cannot be asked maps nothing.
        """
        window = self._window
        if window.left <= 0:
            window = self._window = self._map()
        if window.pages is None:
            return None
        window.left -= 1
        at = self._layout.records_at + RECORD * index
        try:
            window.pages.madvise(_POPULATE_READ, at, RECORD)
        except (OSError, ValueError):
            return None
        return memoryview(window.pages)[at : at + RECORD]

    def _map(self) -> _Window:
        try:
            pages = mmap.mmap(self._descriptor, self._layout.end, access=mmap.ACCESS_READ)
        except (OSError, ValueError):  # no address space for it, or the file was cut off meanwhile
            return _Window(None, sys.maxsize)
        return _Window(pages, _MAPPED)


@dataclass
class _Window:
    """A mapping of a whole packed file, and how many records may still be looked at in it."""

    pages: Optional[mmap.mmap] = None
    left: int = 0
