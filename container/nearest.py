"""The known word that a mistyped one most likely means"""

from __future__ import annotations

from typing import Iterable, Optional


def nearest_word(word: str, words: Iterable[str]) -> Optional[str]:
    """None where none is near."""
    from difflib import get_close_matches

    close = get_close_matches(word, list(words), n=1, cutoff=0.5)
    return close[0] if close else None


def nearest(word: str, words: Iterable[str]) -> str:
    """What a message says of it: ``; did you mean epoch?``, or nothing."""
    found = nearest_word(word, words)
    return f"; did you mean {found}?" if found else ""
