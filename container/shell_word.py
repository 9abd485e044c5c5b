"""Words of a shell, for hints: paths in them need no template engine to be quoted"""

from __future__ import annotations

import shlex
from typing import Iterable


def shell_word(text: object) -> str:
    """``text`` as it is, or in single quotes where a shell would read it otherwise."""
    return shlex.quote(str(text))


def shell_words(words: Iterable[object]) -> str:
    """A command that can be pasted into a shell."""
    return " ".join(map(shell_word, words))


def fish_word(text: object) -> str:
    """The same for fish, in whose single quotes a backslash is read."""
    escaped = str(text).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
