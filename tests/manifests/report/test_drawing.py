"""Strips and charts: nothing is hidden, nothing lies outside, and no number is too odd to draw."""

from __future__ import annotations

import math
import random
import re
from pathlib import Path
from typing import Any, List

import pytest

from container.size_text import size_text
from manifests.record.run_files import RunFiles
from manifests.report.amounts import numbers_text, time_text
from manifests.report.chart import HEIGHT, MOST_POINTS, WIDTH, charts_of, round_values, spanned
from manifests.report.curves import Curves
from manifests.report.strip import counts_of, ranges_of, rectangles_of
from manifests.verdict.step_states import DIFFERENT, EQUAL, NOT_COMPARED


def strip(states: bytes) -> List[Any]:
    return rectangles_of(ranges_of(states))


@pytest.mark.parametrize("steps", [1, 2, 7, 999, 1000, 1001, 100_001])
@pytest.mark.parametrize("seed", range(3))
def test_a_strip_has_no_gap_and_hides_no_difference(steps: int, seed: int) -> None:
    dice = random.Random(seed)
    states = bytearray([EQUAL]) * steps
    place = dice.randrange(steps)
    states[place] = DIFFERENT
    drawn = strip(bytes(states))
    assert drawn[0].x == 0
    assert drawn[-1].x + drawn[-1].width == pytest.approx(1000, abs=0.02)
    for one, other in zip(drawn, drawn[1:]):
        assert one.x + one.width == pytest.approx(other.x, abs=0.02)
        assert one.kind != other.kind
    (red,) = [one for one in drawn if one.kind == "different"]
    assert red.x - 0.02 <= 1000 * place / steps <= red.x + red.width
    assert red.width >= 0.99
    assert [count for _, _, count in counts_of(ranges_of(bytes(states)))] == [
        steps - 1 - (place != 0),
        1 if place else 0,
        0,
    ]


def test_titles_name_the_steps_of_a_column() -> None:
    states = bytes([EQUAL]) * 2500 + bytes([DIFFERENT]) + bytes([NOT_COMPARED]) * 2499
    titles = [one.title for one in strip(states)]
    assert titles == [
        "steps 0 to 2499: equal",
        "steps 2500 to 2504: different",
        "steps 2505 to 4999: not compared",
    ]


def test_no_steps_are_no_strip() -> None:
    assert strip(b"") == []


def curves(values: List[float]) -> Curves:
    epochs = [float(place + 1) for place in range(len(values))]
    steps = [place + 1 for place in range(len(values))]
    empty: Any = None
    return Curves(RunFiles(Path("/run")), empty, steps, epochs, {"main/loss": values})


ODD = [
    [0.0],
    [1.0, 1.0],
    [math.nan, 2.0, math.inf],
    [1e308, -1e308, 1.0],
    [5e-324, 0.0],
    [1e-320, 2e-320],
    [1.0, math.nextafter(1.0, 2.0)],
    [-3e299, 3e299],
]


@pytest.mark.parametrize("values", ODD, ids=repr)
def test_odd_numbers_are_drawn_inside(values: List[float]) -> None:
    charts = charts_of([curves(values), None])
    for chart in charts:
        for tick in (*chart.x_ticks, *chart.y_ticks):
            assert 0 <= tick.place <= 100
        for line in chart.lines:
            places = [float(word) for word in re.findall(r"[-0-9.e+]+", line.path)]
            assert all(0 <= x <= WIDTH for x in places[::2])
            assert all(0 <= y <= HEIGHT for y in places[1::2])


def test_numbers_that_are_none_are_no_chart() -> None:
    assert charts_of([curves([math.nan, math.inf])]) == []
    assert charts_of([None]) == []


def test_long_logs_keep_their_peaks() -> None:
    values = [1.0] * 50_000
    values[31_234] = 9.0
    (chart,) = charts_of([curves(values)])
    (line,) = chart.lines
    points = line.path[1:].split("L")
    assert len(points) <= MOST_POINTS
    assert line.dots == ""
    lowest = min(float(point.split()[1]) for point in points)
    assert lowest == pytest.approx(HEIGHT * (1 - 8.32 / 8.64), abs=0.1)  # 4 % of room at each end


def test_ticks_are_round() -> None:
    assert round_values(spanned([0.1, 0.93])) == [0.2, 0.4, 0.6, 0.8]
    assert round_values(spanned([0.0, 90.0])) == [0.0, 20.0, 40.0, 60.0, 80.0]


def test_amounts() -> None:
    assert [size_text(size) for size in (999, 1500, 2_000_000, 246_100_000_000)] == [
        "999 bytes",
        "1.5 kB",
        "2.0 MB",
        "246.1 GB",
    ]
    assert [time_text(seconds) for seconds in (1.25, 59.9, 60, 125, 7385)] == [
        "1.2 s",
        "59.9 s",
        "1 min 00 s",
        "2 min 05 s",
        "2 h 03 min",
    ]
    assert numbers_text([7, 0, 1, 2, 4, 5]) == "0 to 2, 4 to 5, 7"
