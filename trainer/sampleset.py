"""What a loader needs to know of a set of samples; small, and the same in every process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Optional


@dataclass(frozen=True)
class SampleSet:
    """``pack`` is the packed file of loadtype ``custom``; ``pack_name`` is its path on the host."""

    table: Path
    root: Path
    mean: Path
    seed: int
    insize: int
    paper_side: int
    pack: Path = Path()
    pack_name: str = ""


@dataclass(frozen=True)
class Part:
    """Consecutive samples of one batch: work for one loader. ``epochs`` None means validation."""

    set_name: str
    indices: tuple[int, ...]
    epochs: Optional[tuple[int, ...]]

    def slots(self) -> list[tuple[int, Optional[int]]]:
        epochs = self.epochs or (None,) * len(self.indices)
        return list(zip(self.indices, epochs))

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
