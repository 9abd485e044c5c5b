"""The sample tables ``inputs/*.tsv``: ``<sha256>\\t<label>\\t<path>`` per line, read in place."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Iterable, NamedTuple

import numpy as np
import numpy.typing as npt

from trainer.trouble import TrainerError


class Entry(NamedTuple):
    sha256: str
    label: int
    path: str


class SampleTable:
    """Random access to the lines; the file is mapped, so that loaders share its memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as stream:
            self._text = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        ends = np.flatnonzero(np.frombuffer(self._text, dtype=np.uint8) == ord("\n"))
        self._ends = ends
        self._starts = np.concatenate([np.zeros(1, dtype=ends.dtype), ends[:-1] + 1])

    def __len__(self) -> int:
        return len(self._ends)

    def entry(self, index: int) -> Entry:
        """Raises TrainerError when the line does not have the three fields."""
        line = self._text[int(self._starts[index]) : int(self._ends[index])]
        fields = line.decode("utf-8", "surrogateescape").split("\t", 2)
        if len(fields) != 3 or not fields[1].isdecimal():
            raise TrainerError(
                f"{self.where(index)}: is not a sha256, a label and a path separated by tabs",
                "submit the run again; tables are written by `bundle.py submit`",
            )
        return Entry(fields[0], int(fields[1]), fields[2])

    def labels(self, indices: Iterable[int], nclasses: int) -> npt.NDArray[np.int32]:
        """Raises TrainerError for a label that the network has no class for."""
        labels = []
        for index in indices:
            label = self.entry(index).label
            if label >= nclasses:
                raise TrainerError(
                    f"{self.describe(index)}: has the label {label}, "
                    f"expected 0 to {nclasses - 1} (nclasses is {nclasses})",
                    "correct the list or nclasses, then submit a new run",
                )
            labels.append(label)
        return np.array(labels, dtype=np.int32)

    def where(self, index: int) -> str:
        return f"line {index + 1} of {self.path.parent.name}/{self.path.name}"

    def describe(self, index: int) -> str:
        """Name a sample for a person: its path and its line."""
        return f"image {self.entry(index).path!r} ({self.where(index)})"
