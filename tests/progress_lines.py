"""Lines of progress on standard error of ranks: a slow machine has them, a fast one has not."""

from __future__ import annotations

import re

_LINE = re.compile(r"step \d+ of \d+, epoch [0-9.]+, loss \S+, \d+ s left\n")


def without_progress(errors: str) -> str:
    lines = errors.splitlines(keepends=True)
    return "".join(line for line in lines if not _LINE.fullmatch(line))
