"""Spans of time and ranges of numbers in the words of a page"""

from __future__ import annotations

from typing import List, Sequence


def time_text(seconds: float) -> str:
    """``2 h 03 min``, ``4 min 05 s``, ``1.5 s``"""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def numbers_text(numbers: Sequence[int]) -> str:
    """``0 to 3, 6``: sorted numbers, neighbours together."""
    ranges: List[List[int]] = []
    for number in sorted(set(numbers)):
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ", ".join(str(low) if low == high else f"{low} to {high}" for low, high in ranges)
