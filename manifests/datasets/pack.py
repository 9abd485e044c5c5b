"""The steps of `data pack`: the images of a list, decoded once, in one packed file."""

from __future__ import annotations

import hashlib
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Dict, Iterator, List, NamedTuple, Optional

import numpy as np

from container import atomic
from container.progress import Advance, Progress
from container.size_text import size_text
from container.trouble import Trouble
from manifests.datasets.advice import image_advice
from manifests.datasets.file_digests import default_workers
from manifests.datasets.image_file import decode_pixels, read_file
from manifests.datasets.image_folder import ImageFolder, Problem
from manifests.datasets.list_file import SampleList, read_list
from manifests.datasets.pillow import decoding
from manifests.datasets.shown import capped
from manifests.record.packed_file import (
    MAGIC,
    RECORD,
    Decoder,
    Header,
    Layout,
    layout_of,
    own_decoder,
    preamble,
)

NEXT_STEP = "repair these images or take them out of the list, then pack again"

_CHUNK = 64
#: Pixels go to the disk on the way, so that the last sync is short and progress is honest.
_SYNCED = 1 << 30


class RecordDigests(NamedTuple):
    """sha256 of an image file and of its record; or what is wrong with the image."""

    image: bytes
    record: bytes
    problem: Problem


@dataclass(frozen=True)
class PackedImage:
    path: str
    samples: int
    size: int  # bytes
    decoder: Decoder

    def values(self) -> Dict[str, Any]:
        return {**vars(self), "decoder": self.decoder.model_dump()}

    def lines(self) -> List[str]:
        return [
            f"packed {self.samples} images into {self.path}, {size_text(self.size)}",
            f"decoded by {self.decoder}",
        ]


def pack(
    list_file: Path,
    root: Path,
    target: Path,
    *,
    progress: Progress,
    workers: Optional[int] = None,
) -> PackedImage:
    """Write the packed file of a list, whole or not at all.

    Threads read, decode and write; the same bytes come out for any number of them. Raises Trouble
    with every bad image of the list (20 are shown), and when there is no room for the file or
    something else is in its place.
    """
    samples = read_list(list_file, root=root)
    if not root.is_dir():
        raise Trouble(f"{list_file}: its root folder {root} does not exist", "give it with --root")
    _refuse_to_overwrite(target)
    paths = "".join(f"{path}\n" for path in samples.paths).encode("utf-8")
    header = Header(decoder=own_decoder(), paths=len(paths), samples=len(samples.paths))
    layout = layout_of(header, len(header.text()))
    try:
        with atomic.prepared(target), atomic.replacing_unnamed(target) as stream:
            _refuse_without_room(target, layout.end)
            digests = _write_records(stream, samples, root, layout, progress, workers)
            _write_head(stream, header, layout, digests + paths)
    except OSError as error:
        raise Trouble(
            f"{target}: cannot be written: {error.strerror}",
            "free some space, or name another file with -o",
        ) from error
    return PackedImage(str(target), len(samples.paths), layout.end, header.decoder)


def _refuse_to_overwrite(target: Path) -> None:
    """A packed file is replaced; what is none was hardly meant."""
    if not target.is_file():
        return
    with target.open("rb") as stream:
        if stream.read(len(MAGIC)) != MAGIC:
            raise Trouble(
                f"{target}: is there already and is not a packed file",
                "name another file with -o, or remove this one",
            )


def _refuse_without_room(target: Path, size: int) -> None:
    free = shutil.disk_usage(target.resolve().parent).free
    if free < size:
        raise Trouble(
            f"{target}: takes {size_text(size)}, and {size_text(free)} are free there",
            "free some space, or name a file elsewhere with -o",
        )


@contextmanager
def _threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """None is left when the block ends: they write into a file that is then closed."""
    executor = ThreadPoolExecutor(count)
    try:
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)


def _write_records(
    stream: BinaryIO,
    samples: SampleList,
    root: Path,
    layout: Layout,
    progress: Progress,
    workers: Optional[int],
) -> bytes:
    """Write every record; return the index's digests. Raises Trouble with all bad images."""
    descriptor, folder = stream.fileno(), ImageFolder.of(root)
    os.ftruncate(descriptor, layout.end)

    def pack_chunk(first: int) -> List[RecordDigests]:
        return [
            _pack_one(folder, samples.paths[place], descriptor, layout.records_at + RECORD * place)
            for place in range(first, min(first + _CHUNK, len(samples.paths)))
        ]

    images, records = bytearray(), bytearray()
    problems: List[str] = []
    title = f"pack the images of {Path(samples.where).name}"
    track = progress.track(title, len(samples.paths), "images")
    with track as advance, _threads(workers or default_workers()) as executor:
        chunks = executor.map(pack_chunk, range(0, len(samples.paths), _CHUNK))
        for place, found in enumerate(_synced(descriptor, chunks, advance)):
            images += found.image
            records += found.record
            if found.problem:
                where = f"{samples.where}, line {samples.lines[place]}"
                problems.append(f"{where}: {folder.show(samples.paths[place])} {found.problem}")
    if problems:
        advice = image_advice(problems, samples, root, "--root", NEXT_STEP)
        raise Trouble(capped(problems, samples.where), advice)
    return bytes(images + records)


def _synced(
    descriptor: int, chunks: Iterator[List[RecordDigests]], advance: Advance
) -> Iterator[RecordDigests]:
    unsynced = 0
    for chunk in chunks:
        yield from chunk
        advance(len(chunk))
        unsynced += RECORD * len(chunk)
        if unsynced >= _SYNCED:
            os.fdatasync(descriptor)
            unsynced = 0


def _pack_one(folder: ImageFolder, name: str, descriptor: int, at: int) -> RecordDigests:
    stamp = folder.stamp(name)
    if isinstance(stamp, str):
        return RecordDigests(b"", b"", stamp)
    data, _, problem = read_file(folder.path(name))
    if problem:
        return RecordDigests(b"", b"", problem)
    with decoding(folder.path(name)):
        pixels, problem = decode_pixels(data)
    if pixels is None:
        return RecordDigests(b"", b"", problem)
    record = np.ascontiguousarray(pixels.transpose(2, 0, 1)).tobytes()
    _write_all(descriptor, record, at)
    return RecordDigests(hashlib.sha256(data).digest(), hashlib.sha256(record).digest(), "")


def _write_all(descriptor: int, data: bytes, at: int) -> None:
    rest = memoryview(data)
    while rest:
        written = os.pwrite(descriptor, rest, at)
        rest, at = rest[written:], at + written


def _write_head(stream: BinaryIO, header: Header, layout: Layout, index: bytes) -> None:
    text = header.text()
    stream.write(preamble(text, index) + text)
    stream.seek(layout.index_at)
    stream.write(index)
