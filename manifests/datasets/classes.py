"""Classes files: one name per line; the line's number, counted from 0, is the label."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, List

from container.atomic import write_bytes
from container.trouble import Trouble
from manifests.datasets.shown import capped

#: Beside the list files that share it.
DEFAULT_NAME = "classes.txt"


def read_classes(path: Path) -> List[str]:
    """The names in the order of their labels. Raises Trouble with all problems of the file."""
    next_step = "give a file with one class name per line, in the order of the labels"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise Trouble(f"{path}: cannot be read: {error.strerror}", next_step) from error
    except UnicodeDecodeError as error:
        raise Trouble(f"{path}: is not UTF-8 text", next_step) from error
    problems = [] if lines else [f"{path}: holds no classes"]
    first: Dict[str, int] = {}
    for number, name in enumerate(lines, start=1):
        if not name.strip():
            problems.append(f"{path}, line {number}: is empty")
        elif first.setdefault(name, number) != number:
            problems.append(
                f"{path}, line {number}: class '{name}' stands in line {first[name]} already"
            )
    if problems:
        raise Trouble(capped(problems, str(path)), next_step)
    return lines


def write_classes(path: Path, classes: List[str]) -> None:
    write_bytes(path, "".join(f"{name}\n" for name in classes).encode("utf-8"))
