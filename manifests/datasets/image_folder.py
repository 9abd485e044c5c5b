"""The root folder of a sample set, as this process and the container see it."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, Iterable, List, Set, Union

from manifests.datasets.digest_cache import Stamp, stamp_of
from manifests.datasets.names import printable, same_form

#: A sentence without its subject: what is wrong with a file.
Problem = str

_UNSEEN = "which the container does not have"
_OUTSIDE = "leads out of the root folder, which is all that the container sees"


def absolute(path: Path) -> str:
    """An absolute path without ``.``, ``..`` and doubled slashes, links not followed."""
    whole = os.path.normpath(Path(path).absolute())
    # POSIX lets two leading slashes mean something else; here they never do.
    return "/" + whole.lstrip("/")


@dataclass
class ImageFolder:
    """Only this folder is in the container, under another path: a link is followed there if it is
    relative and stays below the root all the way.

    ``shown`` is how messages name it. ``links`` holds what is wrong with the way to each folder,
    ``forms`` which names of a folder look alike.
    """

    root: str
    shown: str
    links: Dict[str, Problem] = field(default_factory=dict)
    forms: Dict[str, Set[str]] = field(default_factory=dict)
    linked: Set[str] = field(default_factory=set)  # names that are links themselves

    @classmethod
    def of(cls, root: Path) -> ImageFolder:
        shown = os.path.normpath(root)
        return cls(absolute(root), "/" + shown.lstrip("/") if shown.startswith("/") else shown)

    def path(self, name: str) -> str:
        """Where the file lies."""
        return f"{self.root}/{name}" if self.root != "/" else f"/{name}"

    def show(self, name: str) -> str:
        """The same for people."""
        return printable(str(Path(self.shown, name)))

    def stamp(self, name: str) -> Union[Stamp, Problem]:
        """The stamp of a regular file, or why it is none."""
        path = self.path(name)
        try:
            status = os.lstat(path)
            problem = self._folder_problem(name.rpartition("/")[0])
            if not problem and stat.S_ISLNK(status.st_mode):
                status = Path(path).stat()
                self.linked.add(name)
                problem = self._link_problem(name)
                if problem:
                    problem = f"is a link that {problem}"
        except FileNotFoundError:
            return f"does not exist{self._other_form(name)}"
        except OSError as error:
            return f"cannot be read: {error.strerror}"
        if problem:
            return problem
        return stamp_of(status) if stat.S_ISREG(status.st_mode) else "is not a regular file"

    def plain_folders(self, names: Iterable[str]) -> bool:
        """Whether the way to each folder works in the container."""
        try:
            return not any(map(self._folder_problem, {name.rpartition("/")[0] for name in names}))
        except OSError:
            return False

    def _folder_problem(self, folder: str) -> Problem:
        problem = self.links.get(folder)
        if problem is None:
            problem = self._link_problem(folder)
            if problem:
                problem = f"is reached through a link that {problem}"
            self.links[folder] = problem
        return problem

    def _link_problem(self, name: str) -> Problem:
        """Why the links on the way from the root to ``name`` do not work in the container.

        Raises OSError when a part of the way is not there.
        """
        at: List[str] = []
        ahead = name.split("/")[::-1]
        while ahead:
            part = ahead.pop()
            if part in ("", "."):
                continue
            if part == "..":
                if not at:
                    return _OUTSIDE
                at.pop()
                continue
            path = self.path("/".join([*at, part]))
            if not stat.S_ISLNK(os.lstat(path).st_mode):
                at.append(part)
                continue
            target = str(Path(path).readlink())
            if target.startswith("/"):
                return f"has the absolute target {printable(target)}, {_UNSEEN}"
            ahead += target.split("/")[::-1]
        return ""

    def _other_form(self, name: str) -> str:
        """A remark where only the Unicode form of a name keeps it from being found."""
        if name.isascii():
            return ""
        at = ""
        for part in name.split("/"):
            if os.path.lexists(self.path(f"{at}{part}")):
                at += f"{part}/"
                continue
            if at not in self.forms:
                try:
                    self.forms[at] = {
                        same_form(found.name) for found in Path(self.path(at)).iterdir()
                    }
                except OSError:
                    self.forms[at] = set()
            if same_form(part) in self.forms[at]:
                return "; a name there differs in Unicode form only (NFC, NFD)"
            return ""
        return ""


def link_advice(problems: List[str]) -> str:
    """How to go on where links are among the problems; "" where none is."""
    if not any(problem.endswith((_UNSEEN, _OUTSIDE)) for problem in problems):
        return ""
    return (
        "for links: `cp -rL ROOT NEW` makes a folder of the images themselves, to be named as root "
        "instead (`cp -rlL` takes no room where all is on one file system); repair other images or "
        "take them out of the list"
    )
