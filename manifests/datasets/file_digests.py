"""Digests of many files: in parallel, remembered between runs, in bounded memory."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Callable, Dict, Iterator, List, Optional, Sequence, Tuple, TypeVar

from container.progress import Advance
from manifests.datasets.digest_cache import DigestCache, Stamp
from manifests.datasets.image_file import read_digest
from manifests.datasets.image_folder import ImageFolder, Problem

#: Files held at once: their stamps take some 300 bytes each.
SLAB = 32768
_CHUNK = 64

Item = TypeVar("Item")
Value = TypeVar("Value")


def default_workers() -> int:
    """Threads are enough: hashing, decoding and reading all let go of the interpreter lock."""
    return min(32, len(os.sched_getaffinity(0)) + 2)


@contextmanager
def _pool(workers: int) -> Iterator[ThreadPoolExecutor]:
    executor = ThreadPoolExecutor(workers)
    try:
        yield executor
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=True)
        raise
    executor.shutdown()


def _mapped(
    executor: ThreadPoolExecutor, act: Callable[[Item], Value], items: Sequence[Item]
) -> Iterator[List[Value]]:
    """Results in order, a chunk at a time: one future per file costs more than a cached file."""
    chunks = [items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK)]
    return executor.map(lambda chunk: [act(item) for item in chunk], chunks)


def file_digests(
    folder: ImageFolder,
    names: Sequence[str],
    *,
    decode: bool,
    cache: DigestCache,
    advance: Advance,
    workers: Optional[int] = None,
    clock_ns: Callable[[], int] = time.time_ns,
    trusted: Optional[Sequence[str]] = None,
    seen: Optional[List[Optional[Stamp]]] = None,
) -> Iterator[Tuple[str, Problem]]:
    """Yield (sha256, "") or ("", what is wrong) for each name, in order.

    ``seen`` gets the stamps; None for what is no regular file by itself.

    ``decode`` also decodes each file not in the cache as an image. The cache holds good images
    only: without ``decode`` a digest is remembered when it is the one in ``trusted`` (parallel to
    ``names``), which was decoded when it got there.
    """
    with _pool(workers or default_workers()) as executor:
        for start in range(0, len(names), SLAB):
            slab = names[start : start + SLAB]
            good = {} if trusted is None else dict(zip(slab, trusted[start : start + SLAB]))
            now = clock_ns()
            stamps: Dict[str, Stamp] = {}
            names_of: Dict[str, str] = {}
            problems: Dict[str, Problem] = {}
            found = (item for chunk in _mapped(executor, folder.stamp, slab) for item in chunk)
            for name, stamp in zip(slab, found):
                if isinstance(stamp, str):
                    problems[name] = stamp
                else:
                    stamps[folder.path(name)] = stamp
                    names_of[folder.path(name)] = name
            digests = cache.known(stamps)
            advance(len(slab) - (len(stamps) - len(digests)))
            fresh = [path for path in stamps if path not in digests]
            done = 0
            for chunk in _mapped(executor, lambda path: read_digest(path, decode=decode), fresh):
                paths = fresh[done : done + len(chunk)]
                done += len(chunk)
                rows = []
                for path, (sha256, problem) in zip(paths, chunk):
                    if problem:
                        problems[names_of[path]] = problem
                        continue
                    digests[path] = sha256
                    if decode or good.get(names_of[path]) == sha256:
                        rows.append((path, stamps[path], sha256))
                cache.remember(rows, now_ns=now)
                advance(len(chunk))
            if seen is not None:
                seen += [None if n in folder.linked else stamps.get(folder.path(n)) for n in slab]
            for name in slab:
                yield digests.get(folder.path(name), ""), problems.get(name, "")
