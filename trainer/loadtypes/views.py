"""What both load types do with the pixels of a sample once they have them."""

from __future__ import annotations

from typing import Any, List, Optional, Sequence

import numpy as np
import numpy.typing as npt

from trainer import image
from trainer.augment import (
    MeanImage,
    Seen,
    View,
    choose_views,
    cut_view,
    seen_part,
    subtract_mean,
)
from trainer.sampleset import SampleSet

#: How many samples are made at once: what is subtracted from them stays in the processor's cache.
TOGETHER = 16


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

    def writer(
        self, indices: Sequence[int], epochs: Optional[Sequence[int]], out: npt.NDArray[Any]
    ) -> Writer:
        """For one batch, used by one thread. ``out`` is (n, 3, insize, insize), of the set's
        ``dtype``, or longer."""
        chosen = choose_views(self.side, self._set.insize, self._set.seed, indices, epochs)
        views = [View(top, left, bool(flip)) for top, left, flip in chosen.tolist()]
        return Writer(views, self._mean, out)


class Writer:
    """Writes the samples of a batch, one after another; all are written when ``finish`` was called.

    float32 samples are made of several at once: see subtract_mean.
    """

    def __init__(self, views: List[View], mean: Optional[MeanImage], out: npt.NDArray[Any]) -> None:
        self._views = views
        self._mean = mean
        self._out = out
        self._first = 0
        self._waiting: List[Seen] = []

    def add(self, sample: npt.NDArray[np.uint8]) -> None:
        """The next one, uint8 (3, side, side). One that lies in one piece must not change before
        ``finish``; of any other no more is used afterwards."""
        place = self._first + len(self._waiting)
        view, out = self._views[place], self._out[place]
        if self._mean is None:
            cut_view(sample, view, out)
            self._first += 1
            return
        if not sample.flags.c_contiguous:
            # Into the end of the sample's own place, over which its last numbers are written.
            cut = out.reshape(-1).view(np.uint8)[-out.size :].reshape(out.shape)
            cut_view(sample, view, cut)
            self._waiting.append(cut.__getitem__)
        else:
            self._waiting.append(lambda channel: seen_part(sample[channel], view, out.shape[2]))
        if len(self._waiting) == TOGETHER:
            self.finish()

    def finish(self) -> None:
        if self._mean is None or not self._waiting:
            return
        end = self._first + len(self._waiting)
        views, out = self._views[self._first : end], self._out[self._first : end]
        subtract_mean(self._waiting, self._mean, views, out)
        self._first, self._waiting = end, []
