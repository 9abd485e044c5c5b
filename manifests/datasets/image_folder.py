"""The root folder of a sample set, as this process and the container see it."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, Iterable, List, Set, Union

from manifests.datasets.digest_cache import Stamp, stamp_of
from manifests.datasets.names import FORM_ONLY, INVISIBLE_ONLY, printable, same_form, visible

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
    ``names`` the forms of a folder's names by what one sees of them.
    """

    root: str
    shown: str
    links: Dict[str, Problem] = field(default_factory=dict)
    names: Dict[str, Dict[str, str]] = field(default_factory=dict)
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
            return self._why_missing(name)
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

    def _why_missing(self, name: str) -> Problem:
        """What is said of a file that is not there; a link or a name that looks the same may be."""
        at = ""
        for part in name.split("/"):
            path = Path(self.path(f"{at}{part}"))
            if not os.path.lexists(path):
                return f"does not exist{self._twin_in(at, part)}"
            if not path.exists():
                way = "is" if f"{at}{part}" == name else "is reached through"
                return f"{way} a link to {printable(str(path.readlink()))}, which does not exist"
            at += f"{part}/"
        return "does not exist"

    def _twin_in(self, folder: str, name: str) -> str:
        """A remark where a name of the folder (with a ``/`` at the end) looks the same as this."""
        if name.isascii() and name == name.strip():
            return ""
        if folder not in self.names:
            try:
                found = [path.name for path in Path(self.path(folder)).iterdir()]
            except OSError:
                found = []
            self.names[folder] = {visible(other): same_form(other) for other in found}
        twin = self.names[folder].get(visible(name))
        if twin is None:
            return ""
        return f"; a name there {FORM_ONLY if twin == same_form(name) else INVISIBLE_ONLY}"


def link_advice(problems: List[str]) -> str:
    """How to go on where links are among the problems; "" where none is."""
    if not any(problem.endswith((_UNSEEN, _OUTSIDE)) for problem in problems):
        return ""
    return (
        "for links: `cp -rL ROOT NEW` makes a folder of the images themselves, to be named as root "
        "instead (`cp -rlL` takes no room where all is on one file system); repair other images or "
        "take them out of the list"
    )
