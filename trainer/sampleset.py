"""What a loader needs to know of a set of samples; small, and the same in every process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import numpy as np


@dataclass(frozen=True)
class SampleSet:
    """``pack`` is the packed file of loadtype ``custom``; ``pack_name`` is its path on the host.

    A batch of a ``raw`` set holds the pixels that are seen, uint8, a quarter of the bytes: a GPU
    subtracts the mean and scales. One of any other set holds what the network takes, float32.
    """

    table: Path
    root: Path
    mean: Path
    seed: int
    insize: int
    paper_side: int
    pack: Path = Path()
    pack_name: str = ""
    raw: bool = False

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of a batch."""
        return np.dtype(np.uint8 if self.raw else np.float32)


@dataclass(frozen=True)
class Part:
    """Consecutive samples of one batch: work for one loader. ``epochs`` None means validation."""

    set_name: str
    indices: tuple[int, ...]
    epochs: Optional[tuple[int, ...]]

    def split(self, pieces: int) -> list[Part]:
        """Cut into at most ``pieces`` consecutive parts of nearly equal size."""
        size = -(-len(self.indices) // pieces)
        return [
            Part(
                self.set_name,
                self.indices[start : start + size],
                self.epochs and self.epochs[start : start + size],
            )
            for start in range(0, len(self.indices), size)
        ]
