"""List files: one ``<path> <label>`` per line, paths relative to a root folder.

The last run of white space separates the label, so that a path may hold spaces and quotes. Blank
lines are passed over. An absolute path is accepted where its file lies below the root, whatever
links lead there, and made relative to it; what leads out of the root is refused, because the
container sees nothing else.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Dict, Iterable, List, Optional, Tuple

from container.trouble import Trouble
from manifests.datasets.image_folder import absolute
from manifests.datasets.names import CONTROL, excerpt, printable
from manifests.datasets.shown import capped
from manifests.datasets.text_file import file_lines, scan_lines, text_bytes

NEXT_STEP = "correct the list file; its lines are `<path> <label>`, labels count from 0"


#: PATH_MAX of Linux, in bytes.
MOST_CHARACTERS = 4096


@dataclass(frozen=True)
class SampleList:
    """Samples in the order of the file; the three lists are parallel.

    ``warnings`` name classes below ``nclasses`` without a sample.
    """

    where: str
    paths: List[str]  # relative to the root
    labels: List[int]
    lines: List[int]  # counted from 1
    warnings: List[str]


@dataclass
class _Root:
    """The root folder under its two names: the one it was given by, and where links lead.

    ``led`` is where the links on the way to a folder lead.
    """

    shown: str
    given: str
    real: str
    led: Dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, root: Path) -> _Root:
        given = absolute(root)
        return cls(os.path.normpath(root), given, os.path.realpath(given))

    def inside(self, path: str) -> Tuple[str, str]:
        """Return the path relative to the root, or the problem that it is not below it."""
        whole = path if path.startswith("/") else f"{self.given}/{path}"
        steps = whole.split("/")
        if ".." not in steps:
            below = _below(absolute(Path(whole)), self.given)
            if below:
                return below, ""
        # Where links lead elsewhere, neither ".." nor the text of a path says where a file lies.
        folder, name = os.path.split(whole.rstrip("/"))
        if name == "..":
            folder, name = whole, ""
        if folder not in self.led:
            self.led[folder] = os.path.realpath(folder)
        below = _below(str(Path(self.led[folder], name)), self.real)
        if below:
            return below, ""
        return path, f"path '{printable(path)}' is outside of the root folder {self.shown}"


def _below(path: str, folder: str) -> str:
    """The part of ``path`` below ``folder``; "" where it is not there."""
    prefix = folder if folder.endswith("/") else f"{folder}/"
    return path[len(prefix) :] if path.startswith(prefix) else ""


def parse_list(
    text: str, where: str, *, root: Path, nclasses: Optional[int]
) -> Tuple[SampleList, List[str]]:
    """Return the samples and the problems (``where, line N: …``) of a list file's text.

    ``nclasses`` None lets the highest label say how many classes there are.
    """
    return _parse(*file_lines(text_bytes(text), where), where, root, nclasses)


def _parse(
    lines: List[str], problems: List[str], where: str, root: Path, nclasses: Optional[int]
) -> Tuple[SampleList, List[str]]:
    samples = SampleList(where, [], [], [], [])
    if problems:
        return samples, problems
    plain = _plain_samples(lines, where, nclasses)
    if plain is not None:
        return plain, []
    folder = _Root.of(root)
    for number, line in enumerate(lines, start=1):
        words = line.rsplit(None, 1)
        if not words:
            continue
        path, problem = _sample(words, line, folder, nclasses)
        if problem:
            problems.append(f"{where}, line {number}: {problem}")
        else:
            samples.paths.append(path)
            samples.labels.append(int(words[1]))
            samples.lines.append(number)
    if not samples.paths and not problems:
        problems.append(f"{where}: holds no samples")
    # Where a line is left out its label may be the one that is missing.
    if not problems:
        classes = max(samples.labels) + 1 if nclasses is None else nclasses
        samples.warnings.extend(_empty_classes(samples, classes))
    return samples, problems


def _plain_samples(lines: List[str], where: str, nclasses: Optional[int]) -> Optional[SampleList]:
    """The samples of a list in which every line is as it should be, and every path relative and
    without ``..``, looked at as a whole; None where one is not: then line by line.

    Lists have a million lines, and most of them are like that.
    """
    try:  # twice the work, and no million of small lists for Python to keep account of
        paths = [line.rsplit(None, 1)[0] for line in lines]
        marks = [line.rsplit(None, 1)[1] for line in lines]
    except IndexError:
        return None
    if not paths:
        return None
    digits = "".join(marks)
    if not (digits.isascii() and digits.isdigit()) or max(map(len, marks)) > 9:
        return None
    labels = list(map(int, marks))
    if max(labels) >= (10**9 if nclasses is None else nclasses):
        return None
    text = "\0".join(paths)
    control = CONTROL.search(text.replace("\0", ""))
    if text.startswith("/") or "\0/" in text or ".." in text or control or "\0\0" in text:
        return None
    if text.count("\0") != len(paths) - 1 or max(map(len, paths)) > MOST_CHARACTERS:
        return None
    samples = SampleList(where, paths, labels, list(range(1, len(lines) + 1)), [])
    classes = max(labels) + 1 if nclasses is None else nclasses
    samples.warnings.extend(_empty_classes(samples, classes))
    return samples


def _sample(words: List[str], line: str, root: _Root, nclasses: Optional[int]) -> Tuple[str, str]:
    """Return (path below the root, ""), or ("", what is wrong with a line)."""
    if len(words) == 1:
        return "", f"found '{excerpt(line.strip())}', expected `<path> <label>`"
    path, label = words
    limit = 10**9 if nclasses is None else nclasses
    if not (label.isascii() and label.isdigit() and len(label) < 10):
        end = "on" if nclasses is None else f"to {nclasses - 1}"
        return "", f"label '{excerpt(label)}' is not a whole number from 0 {end}"
    if int(label) >= limit:
        return "", f"label {int(label)} is outside of 0 to {limit - 1} (nclasses)"
    if len(path) > MOST_CHARACTERS:
        return "", f"path '{excerpt(path)}' has {len(path)} characters, more than any file"
    if CONTROL.search(path):
        return "", f"path '{excerpt(path)}' has control characters"
    return root.inside(path) if path.startswith("/") or ".." in path else (path, "")


def _empty_classes(samples: SampleList, nclasses: int) -> List[str]:
    present = set(samples.labels)
    count = nclasses - len(present)
    if count == 0:
        return []
    first = islice((label for label in range(nclasses) if label not in present), 10)
    shown = ", ".join(map(str, first)) + (", …" if count > 10 else "")
    have = "has" if count == 1 else "have"
    return [f"{samples.where}: {count} of {nclasses} classes {have} no sample: {shown}"]


def scan_list(path: Path, *, root: Path, nclasses: Optional[int]) -> Tuple[SampleList, List[str]]:
    """Read a list file and return its samples and all its problems."""
    return _parse(*scan_lines(path), str(path), root, nclasses)


def read_list(path: Path, *, root: Path, nclasses: Optional[int] = None) -> SampleList:
    """Read a list file. Raises Trouble with its problems, of which 20 are shown."""
    samples, problems = scan_list(path, root=root, nclasses=nclasses)
    if problems:
        raise Trouble(capped(problems, str(path)), NEXT_STEP)
    return samples


def render_list(samples: Iterable[Tuple[str, int]]) -> bytes:
    """The bytes of a list file of (path relative to the root, label)."""
    return text_bytes("".join(f"{path} {label}\n" for path, label in samples))
