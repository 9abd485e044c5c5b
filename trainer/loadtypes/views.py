"""What both load types do with the pixels of a sample once they have them."""

from __future__ import annotations

from typing import Any, List, Optional, Sequence

import numpy as np
import numpy.typing as npt

from trainer import image
from trainer.augment import MeanImage, View, apply_view, choose_views, cut_view
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
        self._mean = None if samples.raw else MeanImage(mean_of(samples))

    def writer(self, indices: Sequence[int], epochs: Optional[Sequence[int]]) -> Writer:
        """For one batch, used by one thread."""
        chosen = choose_views(self.side, self._set.insize, self._set.seed, indices, epochs)
        views = [View(top, left, bool(flip)) for top, left, flip in chosen.tolist()]
        return Writer(views, self._mean, np.empty((self._set.insize, self.side), np.float32))


class Writer:
    def __init__(
        self, views: List[View], mean: Optional[MeanImage], scratch: npt.NDArray[np.float32]
    ) -> None:
        self._views = views
        self._mean = mean
        self._scratch = scratch

    def write(self, pixels: npt.NDArray[np.uint8], place: int, out: npt.NDArray[Any]) -> None:
        """uint8 (3, side, side), in any memory order, of the sample at ``place`` in the batch ->
        ``out`` (3, insize, insize), of the set's ``dtype``."""
        if self._mean is None:
            cut_view(pixels, self._views[place], out)
        else:
            apply_view(pixels, self._mean, self._views[place], out, self._scratch)
