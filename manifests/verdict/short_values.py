"""Numbers and digests in texts for people: as short as still tells different ones apart"""

from __future__ import annotations

import re
from typing import Any, List, Match

#: Of a digest; git shows so many, too.
SHOWN_OF_DIGEST = 12
#: Significant digits of a number, at least.
FEWEST_DIGITS = 4
MOST_DIGITS = 17

# Not inside of a name, a path, an address or a version; few digits are short already.
_DIGEST = re.compile(r"(?<![\w./-])(?:[0-9a-f]{64}|[0-9a-f]{40})(?![\w/-])")
_NUMBER = re.compile(r"(?<![\w./:-])-?[0-9]+\.[0-9]{6,}(?:e[+-]?[0-9]+)?(?![\w/-]|\.[0-9])")
_EXACT = re.compile(r" \(-?0x[01]\.[0-9a-f]+p[+-][0-9]+\)")


def shortened(text: str) -> str:
    """``text`` with digests cut, and its numbers in as few digits as keep different ones different.
    Exact (hexadecimal) forms of numbers are left out where the decimal ones are different."""
    text = _DIGEST.sub(lambda match: match[0][:SHOWN_OF_DIGEST], text)
    numbers = [float(found) for found in _NUMBER.findall(text)]
    if len(set(numbers)) == len(numbers):
        text = _EXACT.sub("", text)
    digits = _digits_for(numbers)

    def shorter(match: Match[str]) -> str:
        return min(match[0], format(float(match[0]), f".{digits}g"), key=len)

    return _NUMBER.sub(shorter, text)


def _digits_for(numbers: List[float]) -> int:
    different = len(set(numbers))
    for digits in range(FEWEST_DIGITS, MOST_DIGITS):
        if len({format(number, f".{digits}g") for number in numbers}) == different:
            return digits
    return MOST_DIGITS


def shown_pair(a: Any, b: Any, *, full: bool) -> str:
    """Two values side by side; None is a value that is not there."""
    text = " | ".join("absent" if value is None else str(value) for value in (a, b))
    return text if full else shortened(text)
