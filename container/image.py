"""Image: a finished SIF file in the cache, and what is known of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Optional

from container.atomic import write_json
from container.build_folder import name_of
from container.cache import Cache
from container.digest import sha256_of_file
from container.recipe import Recipe
from container.trouble import Trouble


@dataclass(frozen=True)
class Image:
    """``sha256`` and ``size`` (bytes) are those of the SIF file; ``fresh`` when just built."""

    path: Path
    sha256: str
    size: int
    stack: str
    lock_sha256: str
    recipe_sha256: str
    fresh: bool = False


def image_path(recipe: Recipe, cache: Cache) -> Path:
    """Where a build puts it."""
    return cache.images / _file_name(recipe)


def _file_name(recipe: Recipe) -> str:
    return f"{name_of(recipe)}.sif"


def image_digest(path: Path) -> str:
    """sha256 of the file as it is now; always read whole."""
    return sha256_of_file(path)


def recorded_image(recipe: Recipe, cache: Cache) -> Optional[Image]:
    """The recipe's image as the build recorded it, None when there is none.

    Its bytes are not looked at: see :func:`image_fault`.
    """
    for folder in cache.image_folders:
        path = folder / _file_name(recipe)
        record = _read_record(_record_path(path))
        if record is not None and path.is_file():
            return _image(recipe, path, record["sha256"], fresh=False)
    return None


def find_image(
    recipe: Recipe,
    cache: Cache,
    *,
    remember: bool = True,
    warn: Callable[[str], object] = lambda text: None,
) -> Optional[Image]:
    """The recipe's image when it is in the cache and is what the build wrote, else None.

    An untouched file (size, time, inode as recorded) is not read again; any other is. One that is
    whole is recorded as it is now where ``remember``; nothing is written where not. ``warn`` gets
    why it cannot be recorded: it will be read again.
    """
    image = recorded_image(recipe, cache)
    record = _read_record(_record_path(image.path)) if image else None
    if image is None or record is None or record["stamp"] == _stamp(image.path):
        return image
    if image_fault(image) is not None:
        return None
    if remember and image.path.parent == cache.images:
        try:
            record_image(image.path, image.sha256)
        except OSError as error:
            warn(f"{image.path}: that it was read is not remembered: {error.strerror}")
    return image


def image_fault(image: Image) -> Optional[str]:
    """None for a file that is what the build wrote, else a sentence with both digests.

    The file is read whole.
    """
    return altered(image, image_digest(image.path))


def holds_image(
    path: Path, size: int, sha256: str, digest: Callable[[Path], str] = image_digest
) -> bool:
    """Whether ``path`` is a file that can be read and has these bytes; ``digest`` looks at it.

    What another account keeps to itself is as good as gone.
    """
    try:
        return path.is_file() and path.stat().st_size == size and digest(path) == sha256
    except OSError:
        return False


def altered(image: Image, found: str) -> Optional[str]:
    """As :func:`image_fault`, for a file whose sha256 was ``found``."""
    if found == image.sha256:
        return None
    return f"the image {image.path} was altered: sha256 expected {image.sha256}, found {found}"


def altered_trouble(image: Image, fault: str) -> Trouble:
    build = f"python bundle.py build --stack {image.stack}"
    return Trouble(fault, f"remove it and build it again: {build}")


def published(recipe: Recipe, cache: Cache, finished: Path) -> Image:
    """Give the finished file its final name; before that nothing has it."""
    path = image_path(recipe, cache)
    cache.images.mkdir(parents=True, exist_ok=True)
    sha256 = image_digest(finished)
    _record_path(path).unlink(missing_ok=True)
    finished.replace(path)
    record_image(path, sha256)
    return _image(recipe, path, sha256, fresh=True)


def record_image(path: Path, sha256: str) -> None:
    write_json(_record_path(path), {"sha256": sha256, "stamp": _stamp(path)})


def _image(recipe: Recipe, path: Path, sha256: str, *, fresh: bool) -> Image:
    size = path.stat().st_size
    return Image(path, sha256, size, recipe.stack, recipe.lock_sha256, recipe.sha256, fresh)


def _record_path(path: Path) -> Path:
    return path.with_suffix(".json")


def _stamp(path: Path) -> Dict[str, int]:
    status = path.stat()
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "inode": status.st_ino}


def _read_record(path: Path) -> Optional[Dict[str, Any]]:
    """None as well for a record that a full disk or an older bundle left in another form."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    whole = isinstance(record, dict) and isinstance(record.get("sha256"), str)
    return record if whole and isinstance(record.get("stamp"), dict) else None
