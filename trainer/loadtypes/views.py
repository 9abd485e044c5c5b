"""What both load types do with the pixels of a sample once they have them."""

from __future__ import annotations

from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from trainer import image
from trainer.augment import Mean, apply_view, choose_view, cut_view
from trainer.sampleset import SampleSet


def side_of(samples: SampleSet) -> int:
    """Side of the images that views are cut from, in pixels."""
    return image.scaled_side(samples.insize, samples.paper_side)


def mean_of(samples: SampleSet) -> npt.NDArray[np.float32]:
    """The mean image, float32 (3, side, side)."""
    return image.scaled_mean(np.load(samples.mean, allow_pickle=False), side_of(samples))


class Views:
    def __init__(self, samples: SampleSet) -> None:
        self.side = side_of(samples)
        self._set = samples
        self._mean = None if samples.raw else Mean(mean_of(samples))

    def write(
        self,
        pixels: npt.NDArray[np.uint8],
        index: int,
        epoch: Optional[int],
        out: npt.NDArray[Any],
    ) -> None:
        """uint8 (3, side, side), in any memory order -> ``out`` (3, insize, insize), of the set's
        ``dtype``."""
        view = choose_view(self.side, self._set.insize, self._set.seed, index, epoch)
        if self._mean is None:
            cut_view(pixels, view, out)
        else:
            apply_view(pixels, self._mean, view, out)
