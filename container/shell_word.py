"""A path as one word of a shell, for hints; needs no template engine to be quoted"""

from __future__ import annotations

import shlex


def shell_word(text: object) -> str:
    """``text`` as it is, or in single quotes where a shell would read it otherwise."""
    return shlex.quote(str(text))
