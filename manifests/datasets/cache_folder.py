"""Where digests of files are remembered, and whether more are added"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Union


@dataclass(frozen=True)
class OnlyRead:
    """A cache that is asked and not written, as in a dry run."""

    folder: Path


CacheFolder = Union[Path, OnlyRead]
