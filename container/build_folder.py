"""BuildFolder: where one build works, one build of a recipe at a time, dead builds swept away."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Callable, Iterator

from container.cache import Cache
from container.recipe import Recipe


@contextmanager
def sole_builder(cache: Cache, recipe: Recipe, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the recipe's lock; ``waiting`` is called when another build has it and we wait.

    The kernel frees the lock however the holder ends. Folders of builds that ended without
    cleaning up are removed.
    """
    cache.builds.mkdir(parents=True, exist_ok=True)
    lock = cache.builds / f"{name_of(recipe)}.lock"
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        _sweep(cache, lock)
        yield
    finally:
        os.close(descriptor)


def name_of(recipe: Recipe) -> str:
    return f"{recipe.stack}-{recipe.sha256[:16]}"


def _sweep(cache: Cache, own_lock: Path) -> None:
    for lock in cache.builds.glob("*.lock"):
        if lock == own_lock or _is_free(lock):
            for folder in cache.builds.glob(f"{lock.stem}.*.d"):
                remove_tree(folder)


def _is_free(lock: Path) -> bool:
    descriptor = os.open(lock, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


@contextmanager
def build_folder(cache: Cache, recipe: Recipe) -> Iterator[Path]:
    """A fresh folder, removed at the end.

    It is on the cache's file system: inputs are linked in, the finished image is renamed out.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"{name_of(recipe)}.", suffix=".d", dir=cache.builds))
    try:
        yield folder
    finally:
        remove_tree(folder)


def remove_tree(folder: Path) -> None:
    """Remove a tree, folders without write permission included; what cannot go stays."""
    for parent, names, _ in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            if not path.is_symlink():
                with suppress(OSError):
                    path.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)
