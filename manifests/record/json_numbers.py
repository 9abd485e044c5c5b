"""Numbers that JSON has no form for: written as words, which every reader of JSON takes as text.

The words are those of JavaScript and of protocol buffers' JSON form. Runs of earlier versions have
bare ``NaN`` in ``log.jsonl`` and ``result.json``; Python and pydantic read both forms.
"""

from __future__ import annotations

import json
import math
from typing import Any, List, Mapping

WORDS = ("NaN", "Infinity", "-Infinity")


def in_words(value: Any) -> Any:
    """Lists, mappings and plain values, with a word for each float that is not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else _word(value)
    if isinstance(value, dict):
        return {name: in_words(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [in_words(item) for item in value]
    return value


def _word(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def json_line(value: Any) -> str:
    """One line of JSON."""
    return json.dumps(in_words(value), ensure_ascii=False, allow_nan=False)


def json_text(value: Any) -> str:
    """JSON for people: indented, keys in order."""
    whole = in_words(value)
    return json.dumps(whole, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)


def number(value: Any) -> float:
    """A number as it was read from JSON, in either form.

    Raises TypeError or ValueError for anything else, OverflowError for an integer too large.
    """
    if isinstance(value, bool) or (isinstance(value, str) and value not in WORDS):
        raise ValueError(f"{value!r} is not a number")
    return float(value)


def not_finite(numbers: Mapping[str, float]) -> List[str]:
    """The names of those that are not finite, in order."""
    return sorted(name for name, value in numbers.items() if not math.isfinite(value))


def not_finite_text(numbers: Mapping[str, float]) -> str:
    """``not finite: validation/main/loss is NaN``; empty where all are finite."""
    odd = [f"{name} is {_word(numbers[name])}" for name in not_finite(numbers)]
    return f"not finite: {', '.join(odd)}" if odd else ""
