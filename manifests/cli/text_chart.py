"""Curves in letters, for terminals"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import List, Sequence, Tuple

Point = Tuple[float, float]

#: Columns of the numbers at the left.
LABEL = 8
#: Below this size a chart says nothing.
LEAST_WIDTH, LEAST_HEIGHT = 20, 4


@dataclass(frozen=True)
class Series:
    """``mark`` is the letter of its points."""

    mark: str
    points: Sequence[Point]


def chart(series: Sequence[Series], width: int, height: int) -> List[str]:
    """Lines of at most ``width`` letters, ``height`` of them; none where there is no point or no
    room. Later series lie above earlier ones; numbers that are not finite are left out."""
    finite = [
        Series(one.mark, [(x, y) for x, y in one.points if math.isfinite(x) and math.isfinite(y)])
        for one in series
    ]
    points = [point for one in finite for point in one.points]
    if not points or width < LEAST_WIDTH or height < LEAST_HEIGHT:
        return []
    columns, rows = width - LABEL - 1, height - 1
    (left, right), (low, high) = (_span([point[axis] for point in points]) for axis in (0, 1))
    cells = [[" "] * columns for _ in range(rows)]
    for one in finite:
        for x, y in one.points:
            column = round((x - left) / (right - left) * (columns - 1))
            row = round((high - y) / (high - low) * (rows - 1))
            cells[row][column] = one.mark
    numbers = {0: high, rows - 1: low}
    lines = [
        f"{_number(numbers[place]) if place in numbers else '':>{LABEL}}|{''.join(cells[place])}"
        for place in range(rows)
    ]
    ends = f"{_number(points[0][0] if left == right else left)}"
    last = _number(right)
    return [line.rstrip() for line in lines] + [
        f"{'':{LABEL}}+{ends}{last.rjust(columns - len(ends))}"
    ]


def _span(values: List[float]) -> Tuple[float, float]:
    low, high = min(values), max(values)
    if low < high:
        return low, high
    around = abs(low) * 0.1 or 1.0
    return low - around, high + around


def _number(value: float) -> str:
    return f"{value:.0f}" if value == round(value) and abs(value) < 1e7 else f"{value:.4g}"
