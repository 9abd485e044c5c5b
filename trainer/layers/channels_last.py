"""The memory order of this package: shapes are Chainer's, in memory the channels run fastest.

So all channels of one position lie side by side: windows are copied in long pieces whatever the
batch size, and a 1x1 convolution is a single matrix product without a copy. Any memory order is
accepted everywhere; results have this one. Large arrays are gone through in parts that stay in the
cache, and what can be done to a part is done while it is there.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Iterator, Optional, Tuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

#: Some images of (N, H, W, C), and of those some rows: all rows, or one image, so that what is
#: taken is contiguous.
Band = Tuple[slice, slice]

#: Elements of each array that elementwise work handles at a time: a few such pieces stay in a
#: core's second cache. Sums over positions are grouped by it, hence bits: part of the format.
PIECE = 1 << 16


def channels_last(x: Array) -> Array:
    """(N, C, H, W) in any memory order -> contiguous (N, H, W, C); no copy in the fast order."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1))


def channels_second(x: Array) -> Array:
    """(N, H, W, C) -> (N, C, H, W), a view."""
    return x.transpose(0, 3, 1, 2)


def channel_pieces(positions: int, channels: int) -> Iterator[slice]:
    """Cut rows of ``channels`` elements into runs of PIECE elements or less."""
    height = max(1, PIECE // channels)
    for first in range(0, positions, height):
        yield slice(first, min(first + height, positions))


def bands(samples: int, rows: int, height: int) -> Iterator[Band]:
    """Cut ``rows`` of each sample so that a band has ``height`` or a little more, and one at
    least."""
    if height < rows:
        each = -(-rows // -(-rows // max(1, height)))
        for image in range(samples):
            for first in range(0, rows, each):
                yield slice(image, image + 1), slice(first, min(first + each, rows))
    else:
        images = height // rows
        for start in range(0, samples, images):
            yield slice(start, min(start + images, samples)), slice(0, rows)


def overlap(start: int, step: int, count: int, side: int) -> Tuple[slice, slice]:
    """Of the ``count`` places start, start + step, … those inside of 0 to side - 1.

    Which ones they are, and the places themselves.
    """
    low = max(0, -(start // step))
    high = max(low, min(count, -((start - side) // step)))
    return slice(low, high), slice(start + low * step, start + high * step, step)


def column_sums(rows: Array) -> Array:
    """(n, C) -> (C,), by a matrix product: many times faster than ``sum``."""
    sums: Array = _ones(len(rows), rows.dtype) @ rows
    return sums


@lru_cache(maxsize=1024)
def _ones(count: int, dtype: Any) -> Array:
    return np.ones(count, dtype=dtype)


class Sum:
    """Adds up arrays of one shape in the order in which they come; the first one becomes it."""

    def __init__(self) -> None:
        self._total: Optional[Array] = None

    def add(self, part: Array) -> None:
        if self._total is None:
            self._total = part
        else:
            self._total += part

    @property
    def total(self) -> Array:
        assert self._total is not None, "nothing was added"
        return self._total
