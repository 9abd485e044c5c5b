"""The states of a run's steps as a strip: ranges of one state, and rectangles to draw"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import List, Tuple

from manifests.verdict.step_states import DIFFERENT, EQUAL, NOT_COMPARED

#: Width of a strip in its own units: a screen has hardly more columns.
WIDTH = 1000

WORDS = {EQUAL: "equal", DIFFERENT: "different", NOT_COMPARED: "not compared"}

#: CSS class of a state.
CLASSES = {EQUAL: "equal", DIFFERENT: "different", NOT_COMPARED: "open"}

#: Ranges that are written out below a strip.
MOST_RANGES = 40


@dataclass(frozen=True)
class Range:
    """Steps ``first`` to ``last``, both included, of one state."""

    first: int
    last: int
    state: int

    @property
    def text(self) -> str:
        if self.first == self.last:
            return f"step {self.first}: {WORDS[self.state]}"
        return f"steps {self.first} to {self.last}: {WORDS[self.state]}"


@dataclass(frozen=True)
class Rectangle:
    """From ``x`` on, ``width`` wide, in units of which a strip has WIDTH."""

    x: float
    width: float
    kind: str
    title: str


def ranges_of(states: bytes) -> List[Range]:
    """Neighbours of one state together; step 0 is the first byte."""
    found, first = [], 0
    for state, same in groupby(states):
        count = sum(1 for _ in same)
        found.append(Range(first, first + count - 1, state))
        first += count
    return found


def rectangles_of(ranges: List[Range]) -> List[Rectangle]:
    """What to draw. Where a column holds many steps, one that differs shows in it, else one that
    was not compared: nothing hides behind its neighbours."""
    steps = ranges[-1].last + 1 if ranges else 0
    if not steps:
        return []
    columns = min(steps, WIDTH)
    drawn = [EQUAL] * columns
    for one in sorted(ranges, key=lambda one: (one.state == DIFFERENT, one.state == NOT_COMPARED)):
        if one.state != EQUAL:
            begin = one.first * columns // steps
            end = one.last * columns // steps + 1
            drawn[begin:end] = [one.state] * (end - begin)
    rectangles, first = [], 0
    for state, same in groupby(drawn):
        count = sum(1 for _ in same)
        rectangles.append(_rectangle(first, count, state, columns, steps))
        first += count
    return rectangles


def _rectangle(first: int, count: int, state: int, columns: int, steps: int) -> Rectangle:
    low = -(-first * steps // columns)
    high = -(-(first + count) * steps // columns) - 1
    unit = WIDTH / columns
    title = Range(low, max(low, high), state).text
    return Rectangle(round(first * unit, 2), round(count * unit, 2), CLASSES[state], title)


def place_of(step: int, steps: int) -> float:
    """Where on a strip of so many steps besides step 0 a step ends."""
    return round(WIDTH * (step + 1) / (steps + 1), 2)


def counts_of(ranges: List[Range]) -> List[Tuple[str, str, int]]:
    """(class, words, how many steps) of each state, step 0 aside: it is no update."""
    counts = dict.fromkeys((EQUAL, DIFFERENT, NOT_COMPARED), 0)
    for one in ranges:
        counts[one.state] += one.last - max(one.first, 1) + 1
    return [(CLASSES[state], WORDS[state], count) for state, count in counts.items()]
