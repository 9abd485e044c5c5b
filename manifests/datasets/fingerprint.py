"""The fingerprint of a sample set: the table of its images' digests."""

from __future__ import annotations

import hashlib
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional, Tuple

from container.progress import Progress
from container.trouble import Trouble
from manifests.datasets.cache_folder import CacheFolder, OnlyRead
from manifests.datasets.digest_cache import DigestCache, Stamp
from manifests.datasets.file_digests import file_digests
from manifests.datasets.image_folder import ImageFolder
from manifests.datasets.known_set import SMALLEST, known_table, remember_table, set_key
from manifests.datasets.list_file import SampleList
from manifests.record.sample_table import Sample, write_sample
from manifests.record.schema import SampleSetIdentity


@dataclass(frozen=True)
class Fingerprint:
    """``table`` is the text of ``inputs/<name>.tsv`` (see SampleSetIdentity)."""

    table: bytes
    identity: SampleSetIdentity
    warnings: List[str]


def scan_images(
    samples: SampleList,
    root: Path,
    *,
    cache_folder: Optional[CacheFolder],
    progress: Progress,
    workers: Optional[int] = None,
) -> Tuple[Optional[Fingerprint], List[str]]:
    """Digest and decode every image of a list, in parallel; return the fingerprint, or the problem
    of each unusable image with its line in the list.

    ``cache_folder`` None does without the cache.
    """
    if not root.is_dir():
        return None, [f"{samples.where}: its root folder {root} does not exist"]
    folder = ImageFolder.of(root)
    known = _KnownSet(samples, folder, cache_folder)
    table = known.table(workers)
    if table is not None:
        return _fingerprint(table, len(samples.paths), []), []
    cache = DigestCache(cache_folder)
    rows: List[bytes] = []
    problems: List[str] = []
    title = f"check the images of {Path(samples.where).name}"
    try:
        with progress.track(title, len(samples.paths), "images") as advance:
            found = file_digests(
                folder,
                samples.paths,
                decode=True,
                cache=cache,
                advance=advance,
                workers=workers,
                seen=known.seen,
            )
            for path, label, line, (sha256, problem) in zip(
                samples.paths, samples.labels, samples.lines, found
            ):
                if problem:
                    problems.append(f"{samples.where}, line {line}: {folder.show(path)} {problem}")
                else:
                    rows.append(write_sample(Sample(sha256, label, path)))
    finally:
        cache.close()
    if problems:
        return None, problems
    known.remember(rows)
    return _fingerprint(b"".join(rows), len(rows), cache.warnings), []


def _fingerprint(table: bytes, count: int, warnings: List[str]) -> Fingerprint:
    identity = SampleSetIdentity(sha256=hashlib.sha256(table).hexdigest(), samples=count)
    return Fingerprint(table, identity, warnings)


class _KnownSet:
    """What is remembered of a large set as a whole; of a small one nothing."""

    def __init__(
        self, samples: SampleList, folder: ImageFolder, cache_folder: Optional[CacheFolder]
    ) -> None:
        self._samples, self._folder = samples, folder
        self._only_read = isinstance(cache_folder, OnlyRead)
        where = cache_folder.folder if isinstance(cache_folder, OnlyRead) else cache_folder
        self._where = where if len(samples.paths) >= SMALLEST else None
        self._begun = time.time_ns()
        self.seen: Optional[List[Optional[Stamp]]] = None
        if self._where is not None:
            self._key = set_key(folder.root, samples.paths, samples.labels)
            self.seen = None if self._only_read else []

    def table(self, workers: Optional[int]) -> Optional[bytes]:
        """None where a file is another one, or lies behind a link that the container lacks."""
        if self._where is None or not self._folder.plain_folders(self._samples.paths):
            return None
        touch = not self._only_read
        return known_table(self._where, self._key, self._folder.root, touch=touch, workers=workers)

    def remember(self, rows: List[bytes]) -> None:
        """It only saves time: whatever goes wrong with it is passed over."""
        if self._where is not None and self.seen:
            with suppress(OSError, Trouble):
                remember_table(self._where, self._key, rows, self.seen, self._begun)
