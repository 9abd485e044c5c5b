"""Names of stacks: the default, and those that have a lock; imports nothing that is slow"""

from __future__ import annotations

import re
from pathlib import Path
from typing import List

from container.trouble import Trouble

STACK_NAME = r"[a-z][a-z0-9]*"

#: What is built, examined and run on where nobody names another.
DEFAULT_STACK = "cuda12"


def locked_stacks(project_root: Path) -> List[str]:
    """Those of which an image can be built, sorted."""
    return sorted(path.stem for path in (project_root / "container/locks").glob("*.json"))


def check_stack_name(name: str, known: List[str]) -> None:
    """Raises Trouble, with the ``known`` names, for what cannot be one: it becomes a file name."""
    if not re.fullmatch(STACK_NAME, name):
        raise Trouble(
            f"{name!r} is not a name of a stack (small letters and digits, a letter first); "
            f"known stacks: {', '.join(known) or 'none'}",
            "name one of these",
        )
