"""The fingerprint of a sample set: its table of image digests, and the check against one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional, Tuple

from container.progress import Progress
from container.trouble import Trouble
from manifests.datasets.digest_cache import DigestCache
from manifests.datasets.file_digests import file_digests
from manifests.datasets.image_file import ImageFolder
from manifests.datasets.list_file import SampleList
from manifests.datasets.shown import capped
from manifests.schema import SampleSetIdentity


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
    cache_folder: Optional[Path],
    progress: Progress,
    workers: Optional[int] = None,
) -> Tuple[Optional[Fingerprint], List[str]]:
    """Digest and decode every image of a list; return the fingerprint or the problems."""
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
                    problems.append(f"{samples.where}, line {line}: {folder.path(path)} {problem}")
                else:
                    rows.append(f"{sha256}\t{label}\t{path}\n".encode())
    finally:
        cache.close()
    if problems:
        return None, capped(problems, samples.where)
    table = b"".join(rows)
    identity = SampleSetIdentity(sha256=hashlib.sha256(table).hexdigest(), samples=len(rows))
    return Fingerprint(table, identity, cache.warnings), []


def fingerprint(
    samples: SampleList,
    root: Path,
    *,
    cache_folder: Optional[Path],
    progress: Progress,
    workers: Optional[int] = None,
) -> Fingerprint:
    """Digest and decode every image of a list, in parallel.

    ``cache_folder`` None does without the cache. Raises Trouble with all unusable images, each
    with its line in the list (20 are shown).
    """
    result, problems = scan_images(
        samples, root, cache_folder=cache_folder, progress=progress, workers=workers
    )
    if result is None:
        raise Trouble(problems, "repair these images or take them out of the list")
    return result
