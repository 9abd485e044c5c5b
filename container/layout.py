"""What Singularity.def reads, laid out in the build folder from the recipe and the store."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Dict, Sequence

from container.lock import Lock, LockedFile
from container.recipe import CHECK_PINS, DEFINITION, UNPACK_DEB, Recipe
from container.store import Store


def lay_out(recipe: Recipe, store: Store, folder: Path) -> None:
    """Write into ``folder`` what Singularity.def reads."""
    lock = recipe.lock
    for name in (DEFINITION, UNPACK_DEB, CHECK_PINS):
        target = folder / name
        target.parent.mkdir(exist_ok=True)
        target.write_text(recipe.files[name], encoding="utf-8")
    (folder / "debs").mkdir()
    (folder / "packages" / "wheels").mkdir(parents=True)
    for deb in lock.files_for("image"):
        _link(store.path(deb.sha256), folder / "debs" / deb.basename)
    for wheel in lock.python.files:
        _link(store.path(wheel.sha256), folder / "packages/wheels" / wheel.basename)
    for name, text in _package_texts(recipe.lock_text, lock).items():
        (folder / "packages" / name).write_text(text, encoding="utf-8")


def _package_texts(lock_text: str, lock: Lock) -> Dict[str, str]:
    exports = [f"export {key}='{value}'" for key, value in sorted(lock.environment.items())]
    return {
        "lock.json": lock_text,
        "image.txt": _requirements(lock.python_for("image")),
        "build.txt": _requirements(lock.python_for("build")),
        "drop.txt": _lines(lock.drop),
        "environment.sh": _lines(exports),
    }


def _requirements(files: Sequence[LockedFile]) -> str:
    return _lines([f"{file.name}=={file.version} --hash=sha256:{file.sha256}" for file in files])


def _lines(texts: Sequence[str]) -> str:
    return "".join(f"{text}\n" for text in texts)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        # Another file system, or a store that belongs to another user.
        shutil.copyfile(source, target)
