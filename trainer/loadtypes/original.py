"""``original``: the image file is read and decoded at each access."""

from __future__ import annotations

from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from trainer import image
from trainer.loadtypes.views import Views
from trainer.sampleset import SampleSet
from trainer.table import SampleTable


class OriginalImages:
    """An image's sha256 is checked when it is read while ``checked``, a byte per sample, is 0."""

    def __init__(self, samples: SampleSet, checked: npt.NDArray[np.uint8]) -> None:
        self._set = samples
        self._table = SampleTable(samples.table)
        self._views = Views(samples)
        self._checked = checked

    def load(self, index: int, epoch: Optional[int], out: npt.NDArray[Any]) -> None:
        entry = self._table.entry(index)
        what = self._table.describe(index)
        data = image.read_bytes(self._set.root / entry.path, what)
        if not self._checked[index]:
            image.check_sha256(data, entry.sha256, what)
            self._checked[index] = 1
        pixels = image.pixels(image.decode(data, what), self._views.side)
        self._views.write(pixels.transpose(2, 0, 1), index, epoch, out)
