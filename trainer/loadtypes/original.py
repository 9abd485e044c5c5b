"""``original``: the image file is read and decoded at each access."""

from __future__ import annotations

from typing import Any, Optional, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from trainer import image
from trainer.loadtypes.views import Views
from trainer.pillow_memory import planes_of
from trainer.sampleset import SampleSet
from trainer.table import SampleTable


class OriginalImages:
    """An image's sha256 is checked when it is read while ``checked``, a byte per sample, is 0."""

    def __init__(self, samples: SampleSet, checked: npt.NDArray[np.uint8]) -> None:
        self._set = samples
        self._table = SampleTable(samples.table)
        self._views = Views(samples)
        self._checked = checked

    def load(
        self, indices: Sequence[int], epochs: Optional[Sequence[int]], out: npt.NDArray[Any]
    ) -> None:
        writer = self._views.writer(indices, epochs, out)
        for index in indices:
            with planes_of(self._scaled(index)) as planes:
                writer.add(planes)
        writer.finish()

    def _scaled(self, index: int) -> Image.Image:
        entry = self._table.entry(index)
        what = self._table.describe(index)
        data = image.read_bytes(self._set.root / entry.path, what)
        if not self._checked[index]:
            image.check_sha256(data, entry.sha256, what)
            self._checked[index] = 1
        return image.scaled(image.decode(data, what), self._views.side)
