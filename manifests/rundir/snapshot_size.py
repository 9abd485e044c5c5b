"""How large a snapshot is, in which folders, and whether that is too much: it is copied per run."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import List, Mapping, Optional, Tuple

#: Snapshots above this are a warning, in bytes.
LARGE = 100 * 10**6
#: Folders and files that are named.
_SHOWN = 3
#: A folder is named instead of the one that it is in where it has so much of it.
_MOST = 0.9

BUNDLEIGNORE = ".bundleignore"
NEXT_STEP = (
    f"name what is not code in {BUNDLEIGNORE} (patterns as in .gitignore), or move it out of the "
    "project, or raise snapshot_limit in the config"
)


def mb(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def largest(sizes: Mapping[str, int]) -> List[Tuple[str, int]]:
    """The folders (with a ``/`` at the end) and files with the most bytes, the largest first."""
    found = []
    for name, size in _parts(sizes, "").most_common(_SHOWN):
        while name.endswith("/"):
            inner = _parts(sizes, name).most_common(1)[0]
            if inner[1] < _MOST * size or not inner[0].endswith("/"):
                break
            name, size = inner
        found.append((name, size))
    return found


def _parts(sizes: Mapping[str, int], folder: str) -> Counter[str]:
    counted: Counter[str] = Counter()
    for name, size in sizes.items():
        if name.startswith(folder):
            first, slash, _ = name[len(folder) :].partition("/")
            counted[f"{folder}{first}{slash}"] += size
    return counted


def _named(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {mb(size)}" for name, size in largest(sizes))


def copy_text(sizes: Mapping[str, int]) -> str:
    """What `submit` says of every snapshot."""
    total = sum(sizes.values())
    return (
        f"the run gets a copy of the project's code: {len(sizes)} files, {mb(total)}"
        f" (most in {_named(sizes)})"
    )


def large_text(sizes: Mapping[str, int]) -> str:
    """The warning about a large one; empty for others."""
    if sum(sizes.values()) <= LARGE:
        return ""
    return f"{copy_text(sizes)}; what is not code can be left out by {BUNDLEIGNORE}"


def too_large(root: Path, sizes: Mapping[str, int], limit_mb: Optional[int]) -> str:
    """Why this is refused; empty where it is not."""
    total = sum(sizes.values())
    if limit_mb is None or total <= limit_mb * 10**6:
        return ""
    return (
        f"{root}: the project's code has {mb(total)}, and each run gets a copy: more than "
        f"snapshot_limit, {limit_mb} MB; most is in {_named(sizes)}"
    )
