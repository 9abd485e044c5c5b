"""The known word that a mistyped one most likely means"""

from __future__ import annotations

from typing import Iterable, Optional

#: Ratios of difflib from which on words are near: any word, and one with the same first letter.
_SURE = 0.8
_LIKELY = 0.5


def nearest_word(word: str, words: Iterable[str]) -> Optional[str]:
    """None where none is near. Another first letter is rarely a slip: ``gpu`` does not mean cpu."""
    from difflib import get_close_matches

    words = list(words)
    same = [known for known in words if known[:1] == word[:1]]
    close = get_close_matches(word, words, n=1, cutoff=_SURE) or get_close_matches(
        word, same, n=1, cutoff=_LIKELY
    )
    return close[0] if close else None


def nearest(word: str, words: Iterable[str]) -> str:
    """What a message says of it: ``; did you mean epoch?``, or nothing."""
    found = nearest_word(word, words)
    return f"; did you mean {found}?" if found else ""
