"""A path as one word of a shell, for hints; what is plain needs no template engine to be quoted"""

from __future__ import annotations

import re

_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")


def shell_word(text: object) -> str:
    """``text`` as it is, or in single quotes where a shell would read it otherwise."""
    word = str(text)
    if _PLAIN.fullmatch(word):
        return word
    return "'" + word.replace("'", "'\\''") + "'"
