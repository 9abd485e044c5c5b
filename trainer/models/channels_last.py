"""The memory order of this package: shapes are Chainer's, in memory the channels run fastest.

So rows of one position hold all channels side by side: windows are copied in long pieces whatever
the batch size, and a 1x1 convolution is a single matrix product without a copy. Any memory order
is accepted everywhere; results have this one.
"""

from __future__ import annotations

from typing import Any, Iterator, Tuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

#: Elements of each array that elementwise work handles at a time: a few such pieces stay in a
#: core's second cache. Sums over positions are grouped by it, hence bits: part of the format.
PIECE = 1 << 15


def channels_last(x: Array) -> Array:
    """(N, C, H, W) in any memory order -> contiguous (N, H, W, C); no copy in the fast order."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1))


def channels_second(x: Array) -> Array:
    """(N, H, W, C) -> (N, C, H, W), a view."""
    return x.transpose(0, 3, 1, 2)


def pieces(positions: int, channels: int) -> Iterator[slice]:
    """Cut rows of ``channels`` elements into runs of PIECE elements or less."""
    height = max(1, PIECE // channels)
    for first in range(0, positions, height):
        yield slice(first, min(first + height, positions))


def overlap(start: int, step: int, count: int, side: int) -> Tuple[slice, slice]:
    """Of the ``count`` places start, start + step, … those inside of 0 to side - 1.

    Which ones they are, and the places themselves.
    """
    low = max(0, -(start // step))
    high = max(low, min(count, -((start - side) // step)))
    return slice(low, high), slice(start + low * step, start + high * step, step)
