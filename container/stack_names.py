"""Names of stacks: the default, and those that have a lock; imports nothing that is slow"""

from __future__ import annotations

from pathlib import Path
from typing import List

#: What is built, examined and run on where nobody names another.
DEFAULT_STACK = "cuda12"


def locked_stacks(project_root: Path) -> List[str]:
    """Those of which an image can be built, sorted."""
    return sorted(path.stem for path in (project_root / "container/locks").glob("*.json"))
