"""The module list of a site: a file of names or ``module load`` lines, or a mapping."""

from __future__ import annotations

import re
from typing import List, Tuple

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=@/-]*")
_LOAD = re.compile(r"(?:module|ml)\s+(?:load|add)\s+(.+)")
# What the original's files began with; the job script prepares `module` itself.
_SETUP = re.compile(r"(?:\.|source)\s+\S*/(?:modules|lmod)\.(?:sh|bash)")


def is_module_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None


def parse_modules(text: str) -> Tuple[List[str], List[str]]:
    """Return (module names in order, problems ``line N: …``) of a modules file.

    Blank lines, ``#`` comments and the line that sources ``modules.sh`` are passed over.
    """
    names: List[str] = []
    problems: List[str] = []
    for number, line in enumerate(text.split("\n"), start=1):
        content = line.split("#", 1)[0].strip()
        if not content or _SETUP.fullmatch(content):
            continue
        load = _LOAD.fullmatch(content)
        words = (load.group(1) if load else content).split()
        if (load or len(words) == 1) and all(is_module_name(word) for word in words):
            names.extend(words)
        else:
            problems.append(
                f"line {number}: found '{content}', expected a module name or `module load NAME`"
            )
    return names, problems
