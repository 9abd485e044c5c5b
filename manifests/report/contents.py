"""What is in the image of a run, and how much room the run and its image take"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional

from container.lock import Lock, PythonFile, parse_lock
from container.recipe import lock_path
from container.size_text import size_text
from container.trouble import Trouble
from manifests.record.run_files import RunFiles
from manifests.record.schema import Manifest


@dataclass(frozen=True)
class Package:
    name: str
    version: str
    kind: str
    licence: str


def lock_of(manifest: Manifest) -> Optional[Lock]:
    """The lock that the manifest keeps; None where it is of a form that is not known here."""
    kept = manifest.recipe
    try:
        return parse_lock(kept.files[lock_path(kept.stack)], "lock")
    except (Trouble, KeyError):
        return None


def packages_of(lock: Lock) -> List[Package]:
    """All that the image holds, Python packages first."""
    files = [*lock.python_for("image"), *lock.files_for("image")]
    return [
        Package(
            file.name,
            file.version,
            "Python" if isinstance(file, PythonFile) else "Debian",
            (file.licence or "") if isinstance(file, PythonFile) else "",
        )
        for file in files
    ]


@dataclass(frozen=True)
class Room:
    what: str
    size: int

    @property
    def text(self) -> str:
        return size_text(self.size)


def room_of(files: RunFiles, manifest: Manifest) -> List[Room]:
    """Bytes of the run's parts and of its image; the images of its data are not counted."""
    other = manifest.circumstance.other_code
    code = [*manifest.identity.code.files.values(), *(other.files.values() if other else ())]
    return [
        Room("image", manifest.identity.image.size),
        Room("code (snapshot)", sum(file.size for file in code)),
        Room("inputs (tables, mean image)", _size_below(files.inputs)),
        Room("trail", _size_below(files.trail)),
        Room("checkpoints", _size_below(files.checkpoints)),
        Room("model", _size_of(files.model)),
    ]


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _size_below(folder: Path) -> int:
    return sum(_size_of(path) for path in folder.rglob("*") if path.is_file())
