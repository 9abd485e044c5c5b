"""A run's sample tables held against the images of today."""

from __future__ import annotations

from pathlib import Path
from typing import AbstractSet, List, Optional, Tuple

from container.progress import Progress
from container.reachable import folder_problem
from manifests.datasets.cache_folder import CacheFolder
from manifests.datasets.digest_cache import DigestCache
from manifests.datasets.file_digests import file_digests
from manifests.datasets.image_folder import ImageFolder
from manifests.datasets.shown import capped
from manifests.record.alteration import was_altered
from manifests.record.sample_table import TableFault, read_sample


def parse_table(data: bytes, where: str) -> Tuple[List[str], List[str], List[str]]:
    """Return (sha256 of each image, paths, problems) of a table's bytes."""
    digests: List[str] = []
    paths: List[str] = []
    problems: List[str] = []
    for number, line in enumerate(data.split(b"\n")[:-1], start=1):
        try:
            sample = read_sample(line)
        except TableFault as fault:
            problems.append(f"{where}, line {number}: {fault}")
        else:
            digests.append(sample.sha256)
            paths.append(sample.path)
    if not data.endswith(b"\n"):
        problems.append(f"{where}: does not end with a whole line")
    return digests, paths, problems


def table_problems(
    table: Path,
    root: Path,
    *,
    cache_folder: Optional[CacheFolder],
    progress: Progress,
    workers: Optional[int] = None,
    only: Optional[AbstractSet[int]] = None,
) -> List[str]:
    """Every image below ``root`` that is missing or not what the run's table says.

    Each is named with its path and the table's line; 20 are shown. ``cache_folder`` None reads
    every file. Of the samples, counted from 0, ``only`` these are looked at where it is given.
    """
    where = f"{table.parent.name}/{table.name}"
    try:
        data = table.read_bytes()
    except OSError as error:
        return [f"{where}: cannot be read: {error.strerror}"]
    digests, names, problems = parse_table(data, where)
    if problems:
        return capped(problems, where)
    unusable = folder_problem(root)
    if unusable:
        return [f"{where}: its root folder {root} {unusable}"]
    cache = DigestCache(cache_folder)
    folder = ImageFolder.of(root)
    lines = range(1, len(names) + 1) if only is None else [place + 1 for place in sorted(only)]
    names, digests = [names[k - 1] for k in lines], [digests[k - 1] for k in lines]
    try:
        with progress.track(f"check the images of {table.stem}", len(names), "images") as advance:
            found = file_digests(
                folder,
                names,
                decode=False,
                cache=cache,
                advance=advance,
                workers=workers,
                trusted=digests,
            )
            for number, name, expected, (sha256, problem) in zip(lines, names, digests, found):
                if not problem and sha256 != expected:
                    problem = was_altered(sha256, expected)
                if problem:
                    problems.append(f"{where}, line {number}: {folder.show(name)} {problem}")
    finally:
        cache.close()
    return capped(problems, where)
