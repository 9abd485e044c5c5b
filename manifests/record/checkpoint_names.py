"""Names of checkpoint files: which there are, and after which step each was written"""

from __future__ import annotations

import re
from pathlib import Path
from typing import List, Optional

_NAME = re.compile(r"step-([0-9]{9,})\.npz")


def checkpoint_name(step: int) -> str:
    return f"step-{step:09d}.npz"


def step_of(path: Path) -> Optional[int]:
    """The step in a checkpoint's file name; None for any other file."""
    match = _NAME.fullmatch(path.name)
    return int(match[1]) if match else None


def checkpoints_in(folder: Path) -> List[Path]:
    """Files named as checkpoints, newest first; none where there is no such folder."""
    try:
        found = [(step_of(path), path) for path in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [path for step, path in sorted((s, p) for s, p in found if s is not None)][::-1]
