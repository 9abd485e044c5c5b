"""Curves as paths to draw: scales, ticks, and points in the units of a picture"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import List, Optional, Sequence, Tuple

from manifests.report.curves import PANELS, Curves

#: Width and height of a picture in its own units; a page stretches it.
WIDTH, HEIGHT = 1000, 500

#: Up to so many rows each is marked: one row alone would be no line.
MARKED_ROWS = 40

#: More rows than this are drawn by the lowest and the highest of each column.
MOST_POINTS = 2 * WIDTH

#: Of a run that went astray; the differences between larger ones are not finite.
LARGEST = 1e300

#: Smaller spans cannot be divided.
SMALLEST = 1e-300

KINDS = ("training", "validation")


@dataclass(frozen=True)
class Tick:
    """``place`` is in percent of the picture, from the left or from the top."""

    place: float
    text: str


@dataclass(frozen=True)
class Line:
    """``run`` counts from 0; ``path`` and ``dots`` are SVG path data, empty where there is none."""

    run: int
    kind: str
    path: str
    dots: str


@dataclass(frozen=True)
class Chart:
    title: str
    x_ticks: List[Tick]
    y_ticks: List[Tick]
    lines: List[Line]


@dataclass(frozen=True)
class Scale:
    low: float
    high: float

    def part(self, value: float) -> float:
        """0 at the low end, 1 at the high one."""
        return (value - self.low) / (self.high - self.low)


def charts_of(runs: Sequence[Optional[Curves]]) -> List[Chart]:
    """A chart for each title of PANELS that has a number in one of the runs; None has no log."""
    return [
        chart
        for title, names in PANELS.items()
        for chart in [_chart(title, names, runs)]
        if chart is not None
    ]


def _chart(title: str, names: Tuple[str, str], runs: Sequence[Optional[Curves]]) -> Optional[Chart]:
    series = [
        (place, kind, _finite(run.epochs, run.values[name]))
        for place, run in enumerate(runs)
        if run is not None
        for kind, name in zip(KINDS, names)
        if name in run.values
    ]
    points = [point for _, _, found in series for point in found]
    if not points:
        return None
    x_scale = Scale(0.0, max(x for x, _ in points))
    y_scale = spanned([y for _, y in points])
    return Chart(
        title,
        [Tick(_percent(x_scale.part(value)), short(value)) for value in round_values(x_scale)],
        [Tick(_percent(1 - y_scale.part(value)), short(value)) for value in round_values(y_scale)],
        [
            Line(place, kind, *_paths(found, x_scale, y_scale))
            for place, kind, found in series
            if found
        ],
    )


def _finite(xs: Sequence[float], ys: Sequence[float]) -> List[Tuple[float, float]]:
    """Without numbers that no scale can hold."""
    return [(x, y) for x, y in zip(xs, ys) if math.isfinite(x) and abs(y) < LARGEST]


def _percent(part: float) -> float:
    return round(100 * part, 2)


def spanned(values: Sequence[float]) -> Scale:
    """From the lowest to the highest with a little room; never of no height."""
    low, high = min(values), max(values)
    rooms = (0.04 * (high - low), 0.05 * abs(high), 1.0)
    room = next(room for room in rooms if room > SMALLEST)
    return Scale(low - room, high + room)


def round_values(scale: Scale, most: int = 6) -> List[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) within a scale, at most so many."""
    rough = (scale.high - scale.low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * times for times in (1, 2, 5, 10, 20) if power * times >= rough)
    first = math.ceil(scale.low / step)
    count = math.floor(scale.high / step) - first + 1
    return [round((first + number) * step, 12) for number in range(count)]


def short(value: float) -> str:
    return f"{value:.6g}"


def _paths(points: List[Tuple[float, float]], x_scale: Scale, y_scale: Scale) -> Tuple[str, str]:
    places = thinned([(WIDTH * x_scale.part(x), HEIGHT * (1 - y_scale.part(y))) for x, y in points])
    words = [f"{x:.1f} {y:.1f}" for x, y in places]
    path = f"M{'L'.join(words)}" if len(words) > 1 else ""
    dots = "".join(f"M{word}h0" for word in words) if len(points) <= MARKED_ROWS else ""
    return path, dots


def thinned(places: List[Tuple[float, float]]) -> List[Tuple[float, float]]:
    """At most two points a column: no peak is lost."""
    if len(places) <= MOST_POINTS:
        return places
    columns: dict[int, List[Tuple[float, float]]] = {}
    for place in places:
        columns.setdefault(int(place[0]), []).append(place)
    kept = []
    for column in columns.values():
        ends = {min(column, key=lambda place: place[1]), max(column, key=lambda place: place[1])}
        kept += sorted(ends)
    return kept
