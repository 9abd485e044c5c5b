"""Where a recorded path is after folders have moved (``--data OLD=NEW``)"""

from __future__ import annotations

from pathlib import Path
from typing import List, Mapping, Tuple


def path_moved(path: str, moved: Mapping[str, str]) -> Tuple[str, List[str]]:
    """A recorded path with a leading folder OLD of ``moved`` replaced by its NEW, and the OLDs that
    fitted."""
    now, used = path, []
    for old, new in moved.items():
        if Path(old) == Path(path) or Path(old) in Path(path).parents:
            now = str(Path(new).resolve() / Path(path).relative_to(old))
            used.append(old)
    return now, used
