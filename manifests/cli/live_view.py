"""What the live view shows, and what its keys do: values in, lines out"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from typing_extensions import Literal

from manifests.cli.overview import STATUS_COLUMNS, status_parts
from manifests.cli.run_table import blocks
from manifests.cli.text_cells import filled, folded, plain_text

Row = Mapping[str, Any]
#: (row, width, height) -> the lines of one run.
Detail = Callable[[Row, int, int], List[str]]

#: Two runs stand beside each other from this width on, else one below the other.
BESIDE = 70
GUTTER = 2

KEYS: Dict[bytes, str] = {
    b"\x1b[A": "up", b"\x1bOA": "up", b"k": "up",
    b"\x1b[B": "down", b"\x1bOB": "down", b"j": "down",
    b"\r": "look", b"\n": "look", b"\x1b[C": "look", b"\x1bOC": "look",
    b"\x1b": "back", b"\x7f": "back", b"\x08": "back", b"\x1b[D": "back", b"\x1bOD": "back",
    b"c": "compare", b" ": "compare",
    b"q": "quit", b"Q": "quit",
}  # fmt: skip


@dataclass(frozen=True)
class Line:
    """``look``: how it is drawn where there are colours; the text says the same without."""

    text: str
    look: Literal["plain", "head", "chosen", "note"] = "plain"


@dataclass(frozen=True)
class View:
    """``chosen`` is the run that the cursor is at, ``marked`` one that is to stand beside another;
    runs are named by their paths: rows come and go."""

    mode: Literal["list", "one", "two"] = "list"
    chosen: Optional[str] = None
    marked: Optional[str] = None

    def at(self, rows: Sequence[Row]) -> int:
        """The place of the chosen run; the first where it is gone."""
        names = [row["run"] for row in rows]
        return names.index(self.chosen) if self.chosen in names else 0


def first_view(rows: Sequence[Row], named: bool) -> View:
    """One run that was named is looked at, two stand beside each other, others are a list."""
    names = [row["run"] for row in rows]
    if named and len(names) == 1:
        return View("one", names[0])
    if named and len(names) == 2:
        return View("two", names[1], names[0])
    return View("list", names[0] if names else None)


def pressed(view: View, key: str, rows: Sequence[Row]) -> View:
    """The view after a key of KEYS, "quit" aside."""
    if key == "back" or not rows:
        return replace(view, mode="list", marked=None if view.mode == "list" else view.marked)
    if key in ("up", "down"):
        step = -1 if key == "up" else 1
        place = min(max(view.at(rows) + step, 0), len(rows) - 1)
        return replace(view, chosen=rows[place]["run"])
    chosen = rows[view.at(rows)]["run"]
    if key == "look":
        return View("one", chosen, view.marked)
    if key == "compare" and view.marked not in (None, chosen):
        return View("two", chosen, view.marked)
    if key == "compare":
        return View("list", chosen, None if view.marked == chosen else chosen)
    return view


def frame(
    view: View,
    rows: Sequence[Row],
    size: Tuple[int, int],
    detail: Detail,
    *,
    title: str,
    notes: Sequence[str],
    keys: bool,
) -> List[Line]:
    """At most as many lines as the screen has, none wider: ``size`` is (columns, lines).

    ``notes`` are warnings, the newest last; ``keys``: whether keys can be pressed.
    """
    width, height = size
    foot = [Line(text, "note") for note in notes[-1:] for text in folded(note, width)[:2]]
    foot += [Line(text, "note") for text in folded(help_text(view, keys), width)[:1]]
    room = max(1, height - 1 - len(foot))
    head = Line(filled(title, width).rstrip(), "head")
    body = body_of(view, rows, width, room, detail)[:room]
    blank = [Line("")] * (room - len(body))
    lines = [head, *body, *blank, *foot][:height]
    return [replace(line, text=plain_text(line.text)) for line in lines]


def help_text(view: View, keys: bool) -> str:
    if not keys:
        return "Ctrl-C ends"
    if view.mode == "list":
        beside = "c compare" if view.marked is None else "c beside the marked one"
        return f"up/down choose  enter look  {beside}  q quit"
    return "up/down next run  esc list  q quit"


def body_of(view: View, rows: Sequence[Row], width: int, room: int, detail: Detail) -> List[Line]:
    if not rows:
        return [Line("no run is under way")]
    by_name = {row["run"]: row for row in rows}
    chosen = rows[view.at(rows)]
    other = by_name.get(view.marked or "")
    if view.mode == "two" and other is not None:
        return [Line(text) for text in pair(other, chosen, width, room, detail)]
    if view.mode == "list":
        return listed(view, rows, width, room)
    return [Line(text) for text in detail(chosen, width, room)]


def pair(a: Row, b: Row, width: int, room: int, detail: Detail) -> List[str]:
    if width < BESIDE:
        half = (room - 1) // 2
        return [*detail(a, width, half), "-" * width, *detail(b, width, room - 1 - half)]
    half = (width - 3) // 2
    left, right = detail(a, half, room), detail(b, half, room)
    count = max(len(left), len(right))
    sides = zip(left + [""] * (count - len(left)), right + [""] * (count - len(right)))
    return [f"{filled(one, half)} | {two}".rstrip() for one, two in sides]


def listed(view: View, rows: Sequence[Row], width: int, room: int) -> List[Line]:
    """The runs around the chosen one, as many as fit; a line counts the others."""
    head, *found = blocks(rows, STATUS_COLUMNS, status_parts, width - GUTTER)
    parts = [[text for line in block for text in folded(line, width - GUTTER)] for block in found]
    at = view.at(rows)
    lines = [Line(f"{'':{GUTTER}}{text}") for text in head if len(text) <= width - GUTTER]
    first, last = window([len(part) for part in parts], at, max(1, room - len(lines) - 1))
    for place in range(first, last):
        gutter = ">" if place == at else " "
        gutter += "*" if rows[place]["run"] == view.marked else " "
        look: Literal["plain", "chosen"] = "chosen" if place == at else "plain"
        lines += [
            Line(
                f"{gutter if number == 0 else '':{GUTTER}}{text}", look if number == 0 else "plain"
            )
            for number, text in enumerate(parts[place])
        ]
    hidden = len(rows) - (last - first)
    if hidden:
        text = filled(f"  {hidden} more runs above or below", width).rstrip()
        lines = [*lines[: room - 1], Line(text, "note")]
    return lines


def window(heights: Sequence[int], at: int, room: int) -> Tuple[int, int]:
    """The first and the end of the places around ``at`` that fit into ``room`` together."""
    first, last, used = at, at + 1, heights[at]
    while True:
        if last < len(heights) and used + heights[last] <= room:
            used += heights[last]
            last += 1
        elif first > 0 and used + heights[first - 1] <= room:
            first -= 1
            used += heights[first]
        else:
            return first, last
