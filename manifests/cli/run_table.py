"""Runs in lines that fit a terminal: columns, and below them what else there is to say of each"""

from __future__ import annotations

import sys
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence

from manifests.cli.text_cells import filled, plain_text, width_of

Row = Mapping[str, Any]
Cell = Callable[[Row], str]

#: Of pipes, and of terminals that do not tell.
PLAIN_WIDTH = 80
INDENT = "    "


def terminal_width() -> int:
    """Columns of standard output."""
    if not sys.stdout.isatty():
        return PLAIN_WIDTH
    import shutil

    return shutil.get_terminal_size((PLAIN_WIDTH, 24)).columns


def laid_out(
    rows: Sequence[Row],
    columns: Mapping[str, Cell],
    below: Callable[[Row], Sequence[str]],
    width: int,
) -> List[str]:
    """A head, a line for each row, and its parts of ``below`` under it, as many in a line as fit.

    Where the columns do not fit side by side the first one has a line of its own. Nothing is cut:
    what is longer than a line is left to the terminal.
    """
    return [line for block in blocks(rows, columns, below, width) for line in block]


def blocks(
    rows: Sequence[Row],
    columns: Mapping[str, Cell],
    below: Callable[[Row], Sequence[str]],
    width: int,
) -> List[List[str]]:
    """The lines of :func:`laid_out`: those of the head, then those of each row. Where not even the
    other columns fit beside each other, each value has its column's name with it."""
    cells = [[text(row) for text in columns.values()] for row in rows]
    head = list(columns)
    widths = [max(width_of(line[place]) for line in (head, *cells)) for place in range(len(head))]
    if _sum_of(widths) <= width:
        first, lines = [joined(head, widths)], [[joined(line, widths)] for line in cells]
    elif len(INDENT) + _sum_of(widths[1:]) <= width:
        first, *lines = (
            [line[0], INDENT + joined(line[1:], widths[1:])] for line in (head, *cells)
        )
    else:
        first = []
        lines = [
            [line[0], *wrapped([f"{n} {v}" for n, v in zip(head[1:], line[1:]) if v != "-"], width)]
            for line in cells
        ]
    return [first, *(line + wrapped(below(row), width) for row, line in zip(rows, lines))]


def _sum_of(widths: Sequence[int]) -> int:
    return sum(widths) + 2 * (len(widths) - 1)


def joined(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(filled(text, width) for text, width in zip(cells, widths)).rstrip()


def wrapped(parts: Sequence[str], width: int) -> List[str]:
    """Parts side by side, a new line where the next does not fit any more."""
    lines: List[str] = []
    for part in map(plain_text, parts):
        longer = f"{lines[-1]}; {part}" if lines else ""
        if lines and width_of(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(INDENT + part)
    return lines


# --- cells ----------------------------------------------------------------------------------


def plain(name: str) -> Cell:
    return lambda row: "-" if row.get(name) is None else plain_text(str(row[name]))


def short(name: str, form: str = ".4g") -> Cell:
    """A number in few digits."""
    return lambda row: "-" if row.get(name) is None else format(row[name], form)


def span(seconds: Optional[float]) -> str:
    """As in 45s, 2m03s, 1h02m, 3d04h."""
    if seconds is None:
        return "-"
    whole = round(seconds)
    for unit, smaller, size, part in (
        ("d", "h", 86400, 3600),
        ("h", "m", 3600, 60),
        ("m", "s", 60, 1),
    ):
        if whole >= size:
            return f"{whole // size}{unit}{whole % size // part:02}{smaller}"
    return f"{whole}s"


def duration(name: str) -> Cell:
    return lambda row: span(row.get(name))


Columns = Dict[str, Cell]
