"""The sample tables ``inputs/*.tsv``, read in place."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Iterable

import numpy as np
import numpy.typing as npt

from manifests.record.sample_table import Sample, TableFault, read_sample
from trainer.trouble import TrainerError


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

    def entry(self, index: int) -> Sample:
        """Raises TrainerError when the line is none of a table."""
        line = self._text[int(self._starts[index]) : int(self._ends[index])]
        try:
            return read_sample(line)
        except TableFault as fault:
            raise TrainerError(
                f"{self.where(index)}: {fault}",
                "submit the run again; tables are written by `bundle.py submit`",
            ) from fault

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
