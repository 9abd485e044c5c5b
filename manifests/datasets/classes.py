"""Classes files: one name per line; the line's number, counted from 0, is the label."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, Iterable, List, Tuple

from container.atomic import write_bytes
from container.trouble import Trouble
from manifests.datasets.names import excerpt
from manifests.datasets.shown import capped
from manifests.datasets.text_file import scan_lines, text_bytes

#: Beside the list files that share it.
DEFAULT_NAME = "classes.txt"


def read_classes(path: Path) -> List[str]:
    """The names in the order of their labels. Raises Trouble with all problems of the file."""
    next_step = "give a file with one class name per line, in the order of the labels"
    lines, problems = scan_lines(path)
    if not lines and not problems:
        problems = [f"{path}: holds no classes"]
    first: Dict[str, int] = {}
    for number, name in enumerate(lines, start=1):
        if not name.strip():
            problems.append(f"{path}, line {number}: is empty")
        elif first.setdefault(name, number) != number:
            problems.append(
                f"{path}, line {number}: class '{excerpt(name)}' stands in line "
                f"{first[name]} already"
            )
    if problems:
        raise Trouble(capped(problems, str(path)), next_step)
    return lines


def write_classes(path: Path, classes: List[str]) -> None:
    write_bytes(path, text_bytes("".join(f"{name}\n" for name in classes)))


def number_warnings(where: str, classes: Iterable[Tuple[int, str]]) -> List[str]:
    """A warning on (label, name) of classes whose name is a number, but not that of their label:
    by sorted names, 10 comes before 2."""
    other = [(label, name) for label, name in classes if _is_other_number(name, label)]
    if not other:
        return []
    label, name = other[0]
    more = f", and {len(other) - 1} more so" if len(other) > 1 else ""
    return [
        f"{where}: the folder {name} has the label {label}{more}; where the names are meant to be "
        "the labels, write them into a classes file, one per line in the order of the labels, and "
        "name it by --classes"
    ]


def _is_other_number(name: str, label: int) -> bool:
    return name.isascii() and name.isdecimal() and len(name) < 10 and int(name) != label
