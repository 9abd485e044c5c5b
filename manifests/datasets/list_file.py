"""List files: one ``<path> <label>`` per line, paths relative to a root folder.

The last run of white space separates the label, so that a path may hold spaces and quotes. Blank
lines are passed over. An absolute path is accepted below the root and made relative to it; what
leads out of the root is refused, because the container sees nothing else.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Iterable, List, Optional, Tuple

from container.trouble import Trouble
from manifests.datasets.shown import capped

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

NEXT_STEP = "correct the list file; its lines are `<path> <label>`, labels count from 0"


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


def parse_list(
    text: str, where: str, *, root: Path, nclasses: Optional[int]
) -> Tuple[SampleList, List[str]]:
    """Return the samples and the problems (``where, line N: …``) of a list file's text.

    ``nclasses`` None lets the highest label say how many classes there are.
    """
    limit = 10**9 if nclasses is None else nclasses
    prefix = f"{os.path.normpath(root)}/"
    samples = SampleList(where, [], [], [], [])
    problems: List[str] = []
    for number, line in enumerate(text.split("\n"), start=1):
        words = line.rsplit(None, 1)
        if not words:
            continue
        problem = ""
        if len(words) == 1:
            problem = f"found '{line.strip()}', expected `<path> <label>`"
        else:
            path, label = words
            if not (label.isascii() and label.isdigit() and len(label) < 10):
                end = "on" if nclasses is None else f"to {nclasses - 1}"
                problem = f"label '{label}' is no whole number from 0 {end}"
            elif int(label) >= limit:
                problem = f"label {int(label)} is outside of 0 to {limit - 1} (nclasses)"
            elif _CONTROL.search(path):
                problem = f"path {path!r} has control characters"
            elif path.startswith("/") or ".." in path:
                path, problem = _inside(path, prefix)
        if problem:
            problems.append(f"{where}, line {number}: {problem}")
        else:
            samples.paths.append(path)
            samples.labels.append(int(label))
            samples.lines.append(number)
    if not samples.paths and not problems:
        problems.append(f"{where}: holds no samples")
    # Where a line is left out its label may be the one that is missing.
    if not problems:
        classes = max(samples.labels) + 1 if nclasses is None else nclasses
        samples.warnings.extend(_empty_classes(samples, classes))
    return samples, problems


def _inside(path: str, prefix: str) -> Tuple[str, str]:
    """Return the path relative to the root, or the problem that it is not below it."""
    whole = os.path.normpath(path if path.startswith("/") else prefix + path)
    if whole.startswith(prefix):
        return whole[len(prefix) :], ""
    return path, f"path '{path}' is outside of the root folder {prefix.rstrip('/')}"


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
    nothing = SampleList(str(path), [], [], [], [])
    try:
        data = path.read_bytes()
    except OSError as error:
        return nothing, [f"{path}: cannot be read: {error.strerror}"]
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return nothing, [f"{path}, line {line}: is not UTF-8 text"]
    samples, problems = parse_list(text, str(path), root=root, nclasses=nclasses)
    return samples, problems


def read_list(path: Path, *, root: Path, nclasses: Optional[int] = None) -> SampleList:
    """Read a list file. Raises Trouble with its problems, of which 20 are shown."""
    samples, problems = scan_list(path, root=root, nclasses=nclasses)
    if problems:
        raise Trouble(capped(problems, str(path)), NEXT_STEP)
    return samples


def render_list(samples: Iterable[Tuple[str, int]]) -> bytes:
    """The bytes of a list file of (path relative to the root, label)."""
    return "".join(f"{path} {label}\n" for path, label in samples).encode("utf-8")
