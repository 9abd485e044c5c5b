"""The files below a folder, folder by folder, each by sorted name.

Sorted means by code point, whatever the locale. Names that begin with a dot are passed over, and
so is what systems put beside people's files (see SYSTEM_NAMES). Links are followed, save one to a
folder that it lies in.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import FrozenSet, List, Optional, Tuple

from manifests.datasets.names import is_system_name, name_problem, printable

Place = Tuple[int, int]  # device and inode of a folder


@dataclass(frozen=True)
class TreeFolder:
    """``path`` is relative to the root, "" for the root itself.

    The names are kept in one text with NUL between them: a million of them take some 25 MB so,
    and four times as much as texts of their own.
    """

    path: str
    joined: str

    @property
    def names(self) -> List[str]:
        return self.joined.split("\0")


def below(path: str, name: str) -> str:
    """The path of ``name`` in the folder ``path``, where "" is the root."""
    return f"{path}/{name}" if path else name


def is_passed_over(name: str) -> bool:
    return name.startswith(".") or is_system_name(name)


def walk(root: Path) -> Tuple[List[TreeFolder], List[str]]:
    """Every folder below ``root`` that holds files, and a problem for what cannot be used.

    A name that is not UTF-8 or has control characters is a problem: no list file can hold it.
    Raises OSError when the root itself cannot be read.
    """
    walker = _Walker(str(root))
    status = root.stat()
    walker.look("", frozenset([(status.st_dev, status.st_ino)]))
    while walker.ahead:
        path, above = walker.ahead.pop()
        try:
            walker.look(path, above)
        except OSError as error:
            walker.problems.append(f"{root}/{path}: cannot be read: {error.strerror}")
    return walker.folders, walker.problems


class _Walker:
    def __init__(self, root: str) -> None:
        self.root = root
        self.folders: List[TreeFolder] = []
        self.problems: List[str] = []
        #: Folders yet to be looked into, with the folders that each lies in; the next one last.
        self.ahead: List[Tuple[str, FrozenSet[Place]]] = []

    def look(self, path: str, above: FrozenSet[Place]) -> None:
        with os.scandir(f"{self.root}/{path}") as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        names: List[str] = []
        deeper: List[Tuple[str, FrozenSet[Place]]] = []
        for entry in found:
            if is_passed_over(entry.name):
                continue
            place: Optional[Place] = None
            problem = name_problem(entry.name)
            if not problem:
                try:
                    place = _folder_place(entry)
                except OSError as error:
                    problem = f"cannot be read: {error.strerror}"
            if place in above:
                problem = "is a link to a folder that it lies in"
            if problem:
                whole = f"{self.root}/{below(path, entry.name)}"
                self.problems.append(f"{printable(whole)}: {problem}")
            elif place is None:
                names.append(entry.name)
            else:
                deeper.append((below(path, entry.name), above | {place}))
        if names:
            self.folders.append(TreeFolder(path, "\0".join(names)))
        self.ahead.extend(reversed(deeper))


def _folder_place(entry: os.DirEntry[str]) -> Optional[Place]:
    """Where a folder lies; None for what is not a folder. Raises OSError for a link in a circle."""
    if not entry.is_symlink() and not entry.is_dir():
        return None
    try:
        status = entry.stat()
    except FileNotFoundError:  # a link to nothing: whoever opens it says so
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISDIR(status.st_mode) else None
