"""BuildFolder: where one build works, one build of a recipe at a time, dead builds swept away."""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Iterator, List, Tuple

from container.cache import Cache

if TYPE_CHECKING:
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
    try:
        descriptor = os.open(lock, os.O_RDWR)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def builds_left_behind(cache: Cache) -> List[Tuple[Path, bool]]:
    """Every build folder, and whether its build is dead."""
    return [(folder, _is_free(_lock_of(folder))) for folder in sorted(cache.builds.glob("*.*.d"))]


def build_under_way(cache: Cache) -> bool:
    return any(not _is_free(lock) for lock in cache.builds.glob("*.lock"))


def remove_dead_build(folder: Path) -> None:
    """Remove the folder of a build that ended; of one that began meanwhile nothing is touched."""
    descriptor = os.open(_lock_of(folder), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        remove_tree(folder)
    finally:
        os.close(descriptor)


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name.split('.')[0]}.lock")


@contextmanager
def build_folder(cache: Cache, recipe: Recipe) -> Iterator[Path]:
    """A fresh folder, removed at the end.

    It is on the cache's file system: inputs are linked in, the finished image is renamed out.
    """
    import tempfile

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
