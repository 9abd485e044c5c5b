"""Packed files held against what they were made from: a list at submit, a run's table later."""

from __future__ import annotations

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import AbstractSet, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from container.progress import Progress
from container.recipe import Recipe
from manifests.datasets.cache_folder import CacheFolder
from manifests.datasets.digest_cache import DigestCache, stamp_of
from manifests.datasets.file_digests import default_workers
from manifests.datasets.fingerprint import Fingerprint
from manifests.datasets.list_file import SampleList
from manifests.datasets.shown import capped
from manifests.datasets.table import parse_table
from manifests.record.alteration import was_altered
from manifests.record.packed_file import RECORD, Decoder, PackedFile, PackFault
from manifests.record.sample_table import Sample, write_sample
from manifests.record.schema import SampleSetIdentity

NEXT_STEP = "pack the images of the list again: python bundle.py data pack LIST --root ROOT"

_CHUNK = 64


class Packs(NamedTuple):
    """Where the packed files of a run lie on this host."""

    train: Path
    val: Path


def decoder_of(recipe: Recipe) -> Decoder:
    """What decodes in the image of this recipe, as its lock says."""
    python = recipe.lock.python.files
    pillow = next((file.version for file in python if file.name == "pillow"), "none")
    libjpeg_turbo = next(
        (probe.expected for probe in recipe.lock.probes if probe.name.startswith("libjpeg-turbo")),
        "none",
    )
    return Decoder(pillow=pillow, libjpeg_turbo=libjpeg_turbo)


def _opened(path: Path, decoder: Optional[Decoder]) -> Tuple[Optional[PackedFile], str]:
    """The packed file, or what is wrong with it."""
    try:
        pack = PackedFile(path)
    except FileNotFoundError:
        return None, f"{path} does not exist"
    except OSError as error:
        return None, f"{path} cannot be read: {error.strerror}"
    except PackFault as fault:
        return None, f"{path} {fault}"
    if decoder is None or pack.header.decoder == decoder:
        return pack, ""
    with pack:
        return None, (
            f"{path} has pixels made by {pack.header.decoder}, the image decodes with {decoder}"
        )


# --- against a list -------------------------------------------------------------------------


def scan_pack(
    samples: SampleList, path: Path, *, decoder: Decoder
) -> Tuple[Optional[Fingerprint], List[str]]:
    """Take the digests of a list's images from its packed file; return them or all problems.

    The pixels are not read: the trainer checks each record when it first uses it.
    """
    pack, problem = _opened(path, decoder)
    if pack is None:
        return None, [f"{samples.where}: its packed file {problem}"]
    with pack:
        problems = _other_images(samples, pack.paths(), path)
        if problems:
            return None, problems
        table = b"".join(
            write_sample(Sample(pack.image_digest(place).hex(), label, name))
            for place, (name, label) in enumerate(zip(samples.paths, samples.labels))
        )
    identity = SampleSetIdentity(
        sha256=hashlib.sha256(table).hexdigest(), samples=len(samples.paths)
    )
    return Fingerprint(table, identity, []), []


def _other_images(samples: SampleList, packed: List[str], path: Path) -> List[str]:
    """Images that only one of list and packed file has, or the first that is in another place."""
    if packed == samples.paths:
        return []
    inside, listed = set(packed), set(samples.paths)
    problems = [
        f"{samples.where}, line {line}: {name} is not in {path}"
        for name, line in zip(samples.paths, samples.lines)
        if name not in inside
    ]
    problems += [
        f"{path}: image {place} is {name}, which {samples.where} does not name"
        for place, name in enumerate(packed, start=1)
        if name not in listed
    ]
    return problems or [_other_order(samples, packed, path)]


def _other_order(samples: SampleList, packed: List[str], path: Path) -> str:
    if len(packed) != len(samples.paths):
        return f"{path}: has {len(packed)} images, {samples.where} names {len(samples.paths)}"
    rows = zip(samples.lines, samples.paths, packed)
    line, name, found = next(row for row in rows if row[1] != row[2])
    return (
        f"{samples.where}, line {line}: is {name}, {path} has {found} there: "
        "the same images in another order"
    )


# --- against a table ------------------------------------------------------------------------


def pack_problems(
    table: Path,
    path: Path,
    *,
    decoder: Optional[Decoder],
    read_pixels: bool,
    cache_folder: Optional[CacheFolder],
    progress: Progress,
    workers: Optional[int] = None,
    only: Optional[AbstractSet[int]] = None,
) -> List[str]:
    """Every image of a run's table that its packed file does not have as the table says.

    ``decoder`` is that of the run's image; None does not ask who made the pixels.
    ``read_pixels`` also reads every record and holds it against its digest; a file that was found
    whole is remembered in ``cache_folder`` by size, times and inode, and not read again. Of the
    samples, counted from 0, the pixels of ``only`` these are read where it is given. 20 problems
    are shown.
    """
    where = f"{table.parent.name}/{table.name}"
    try:
        data = table.read_bytes()
    except OSError as error:
        return [f"{where}: cannot be read: {error.strerror}"]
    digests, names, problems = parse_table(data, where)
    if problems:
        return capped(problems, where)
    pack, problem = _opened(path, decoder)
    if pack is None:
        return [f"{where}: its packed file {problem}"]
    with pack:
        if len(pack) != len(names):
            return [f"{where}: its packed file {path} has {len(pack)} images, not {len(names)}"]
        for number, expected in enumerate(digests):
            found = pack.image_digest(number).hex()
            if found != expected:
                problems.append(
                    f"{where}, line {number + 1}: {path} holds another image: sha256 {found}, "
                    f"expected {expected}"
                )
        if read_pixels and not problems:
            places = range(len(pack)) if only is None else sorted(only)
            altered = _altered_records(pack, places, cache_folder, progress, workers)
            problems = [
                f"{where}, line {number + 1}: the pixels of {names[number]} in {path} {what}"
                for number, what in altered
            ]
    return capped(problems, where)


def _altered_records(
    pack: PackedFile,
    places: Sequence[int],
    cache_folder: Optional[CacheFolder],
    progress: Progress,
    workers: Optional[int],
) -> List[Tuple[int, str]]:
    """Records at ``places`` that are not what the index says, each with what is wrong with it."""
    cache = DigestCache(cache_folder)
    key = f"pixels of {pack.path.absolute()}"  # not the path itself: that is the key of an image
    stamp, now = stamp_of(pack.path.stat()), time.time_ns()
    checksum = pack.checksum.hex()
    try:
        if cache.known({key: stamp}).get(key) == checksum:
            return []
        altered = list(_read_records(pack, places, progress, workers))
        if not altered and len(places) == len(pack):
            cache.remember([(key, stamp, checksum)], now_ns=now)
        return altered
    finally:
        cache.close()


def _read_records(
    pack: PackedFile, places: Sequence[int], progress: Progress, workers: Optional[int]
) -> Iterator[Tuple[int, str]]:
    def check(first: int) -> Dict[int, str]:
        found = {place: _record_problem(pack, place) for place in places[first : first + _CHUNK]}
        return {place: problem for place, problem in found.items() if problem}

    size = RECORD * len(places)
    with progress.track(f"check the pixels of {pack.path.name}", size, "B") as advance:
        executor = ThreadPoolExecutor(workers or default_workers())
        try:
            starts = range(0, len(places), _CHUNK)
            for first, found in zip(starts, executor.map(check, starts)):
                yield from found.items()
                advance(RECORD * min(_CHUNK, len(places) - first))
        finally:
            executor.shutdown(cancel_futures=True)


def _record_problem(pack: PackedFile, place: int) -> str:
    try:
        record = pack.record(place)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    found, expected = hashlib.sha256(record).hexdigest(), pack.record_digest(place).hex()
    return "" if found == expected else was_altered(found, expected, "were")
