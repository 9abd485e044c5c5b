"""Texts in the cells of a terminal: how wide they are, cut, folded and filled to a width"""

from __future__ import annotations

import re
import unicodedata
from typing import List

from container.utf8_text import utf8_text
from manifests.record.text_controls import CONTROLS

# Escape sequences of terminals (ECMA-48: CSI and OSC), then whatever else moves the cursor.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -~])")
_CONTROLS = re.compile(f"[{CONTROLS}]")


def plain_text(text: str) -> str:
    """What a line shows: without what would move the cursor or change colours. Of a line that was
    redrawn, the last state."""
    if text.isascii() and text.isprintable():
        return text
    last = text.rstrip("\r").rsplit("\r", 1)[-1]
    shown = _CONTROLS.sub(" ", _ESCAPES.sub("", last).expandtabs())
    return utf8_text(shown)  # names of files may be any bytes


def width_of(text: str) -> int:
    return len(text) if text.isascii() else sum(map(_cells, text))


def _cells(letter: str) -> int:
    if unicodedata.combining(letter) or unicodedata.category(letter) in ("Cf", "Me", "Mn"):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def folded(text: str, width: int) -> List[str]:
    """Nothing is lost: lines of at most ``width`` cells, at least one."""
    if text.isascii() and len(text) <= width:
        return [text]
    lines, line, used = [], "", 0
    for letter in text:
        cells = _cells(letter)
        if used + cells > max(width, 2):
            lines.append(line)
            line, used = "", 0
        line, used = line + letter, used + cells
    return [*lines, line]


def filled(text: str, width: int) -> str:
    """Cut or padded to ``width`` cells."""
    cut = folded(text, width)[0] if width_of(text) > width else text
    return cut + " " * (width - width_of(cut))
