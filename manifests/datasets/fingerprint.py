"""The fingerprint of a sample set: the table of its images' digests."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional, Tuple

from container.progress import Progress
from manifests.datasets.cache_folder import CacheFolder
from manifests.datasets.digest_cache import DigestCache
from manifests.datasets.file_digests import file_digests
from manifests.datasets.image_folder import ImageFolder
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
    cache = DigestCache(cache_folder)
    folder = ImageFolder.of(root)
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
    table = b"".join(rows)
    identity = SampleSetIdentity(sha256=hashlib.sha256(table).hexdigest(), samples=len(rows))
    return Fingerprint(table, identity, cache.warnings), []
