"""Classes files: one name per line; the line's number, counted from 0, is the label."""

from __future__ import annotations

import re
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
    """Warnings on (label, name) of classes in whose order numbers play a part that sorting by name
    does not give them: names that are numbers, but not those of their labels, because 10 comes
    before 2; names like class_10 that come before class_2."""
    named = sorted(classes)
    other = [(label, name) for label, name in named if _is_other_number(name, label)]
    advice = "write them into a classes file, one per line in the order of the labels, and "
    if other:
        label, name = other[0]
        more = f", and {len(other) - 1} more so" if len(other) > 1 else ""
        return [
            f"{where}: the folder {name} has the label {label}{more}; where the names are meant to "
            f"be the labels, {advice}name it by --classes"
        ]
    for (label, name), (_, following) in zip(named, named[1:]):
        if _is_by_text_only(name, following):
            return [
                f"{where}: the folder {excerpt(name)} has the label {label}, before "
                f"{excerpt(following)}; where the numbers in the names are meant to be the order, "
                f"{advice}name it by --classes"
            ]
    return []


def _is_other_number(name: str, label: int) -> bool:
    return name.isascii() and name.isdecimal() and len(name) < 10 and int(name) != label


_NUMBERED = re.compile(r"(.*?)([0-9]{1,9})", re.DOTALL)


def _is_by_text_only(name: str, following: str) -> bool:
    """class_10 and class_2: in order as text, and not by the numbers after the same beginning."""
    one, other = _NUMBERED.fullmatch(name), _NUMBERED.fullmatch(following)
    if one is None or other is None or not one[1] or one[1] != other[1]:
        return False
    return name < following and int(one[2]) > int(other[2])
