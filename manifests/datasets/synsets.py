"""Which class a number of ILSVRC's ground truth means: number -> WordNet id.

The numbers (ILSVRC2012_ID, 1 to 1000) are not in the order of the ids: number 1 is n02119789. They
stand in the development kit's ``data/meta.mat``, and in text files of several forms.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Dict, List, Tuple

from container.trouble import Trouble
from manifests.datasets.names import excerpt, printable
from manifests.datasets.shown import capped
from manifests.datasets.text_file import file_lines

NEXT_STEP = (
    "give the development kit's data/meta.mat, or a text file with lines `<number> <class>`, or "
    "`<class>` alone in the order of the numbers"
)
_WORDNET = re.compile(r"n\d{8}")


def read_synsets(path: Path) -> Dict[int, str]:
    """Class by number, the numbers being 1 to their count. Raises Trouble with all problems."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Trouble(f"{path}: cannot be read: {error.strerror}", NEXT_STEP) from error
    if data.startswith(b"MATLAB"):
        rows, problems = _rows_of_mat(path)
    else:
        lines, problems = file_lines(data, str(path))
        rows, faults = _rows_of_text(lines, str(path))
        problems += faults
    found: Dict[int, str] = {}
    numbers: Dict[str, int] = {}
    for number, name in rows:
        if number in found:
            both = f"{printable(found[number])} and {printable(name)}"
            problems.append(f"{path}: number {number} stands for {both}")
        elif numbers.setdefault(name, number) != number:
            both = f"{numbers[name]} and {number}"
            problems.append(f"{path}: {printable(name)} has the numbers {both}")
        found[number] = name
    if not rows and not problems:
        problems.append(f"{path}: holds no classes")
    elif not problems and set(found) != set(range(1, len(found) + 1)):
        missing = min(set(range(1, len(found) + 1)) - set(found))
        problems.append(f"{path}: has {len(found)} classes, but none of number {missing}")
    if problems:
        raise Trouble(capped(problems, str(path)), NEXT_STEP)
    return found


def _rows_of_text(lines: List[str], where: str) -> Tuple[List[Tuple[int, str]], List[str]]:
    """``1 n02119789 …``, ``n02119789 1 …`` or ``n02119789 …``: one form throughout."""
    rows: List[Tuple[int, str]] = []
    problems: List[str] = []
    forms: Dict[str, str] = {}  # with the first line of each
    for at, line in enumerate(lines, start=1):
        words = line.split()
        if not words:
            problems.append(f"{where}, line {at}: is empty")
            continue
        second = words[1] if len(words) > 1 else ""
        if words[0].isdecimal() and second:
            form, row = "number first", (int(words[0]), second)
        elif second.isdecimal():
            form, row = "class first", (int(second), words[0])
        else:
            form, row = "no number", (at, words[0])
        forms.setdefault(form, f"line {at} '{excerpt(line.strip())}'")
        rows.append(row)
    if len(forms) > 1:
        shown = ", ".join(f"{form} ({forms[form]})" for form in sorted(forms))
        problems.append(f"{where}: has lines of several forms: {shown}")
    names = [name for _, name in rows]
    if (
        set(forms) == {"no number"}
        and len(names) > 1
        and names == sorted(names)
        and all(map(_WORDNET.fullmatch, names))
    ):
        problems.append(
            f"{where}: has its WordNet ids sorted, which is not the order of ILSVRC's numbers "
            "(number 1 is n02119789); if it is meant, write the numbers into the lines"
        )
    return rows, problems


def _rows_of_mat(path: Path) -> Tuple[List[Tuple[int, str]], List[str]]:
    """The leaves of the struct array ``synsets``; inner nodes of the hierarchy follow them."""
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise Trouble(
            f"{path}: needs scipy to be read, which cannot be imported: {error}",
            "install it from requirements/dev.txt, or run `make dev`, or give a text file",
        ) from error
    try:
        synsets: Any = loadmat(path, variable_names=["synsets"], squeeze_me=True)["synsets"]
        leaves = synsets[synsets["num_children"] == 0]
        return [(int(leaf["ILSVRC2012_ID"]), str(leaf["WNID"])) for leaf in leaves], []
    # A damaged file makes scipy raise nearly anything.
    except Exception as error:
        return [], [
            f"{path}: is not a meta.mat of a development kit: {type(error).__name__}: {error}"
        ]
