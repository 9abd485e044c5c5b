"""Which part of an image is seen: random crop and flip in training, the centre in validation."""

from __future__ import annotations

from typing import NamedTuple, Optional

import numpy as np
import numpy.typing as npt

from trainer.randomness import Purpose, below, words

_WORD = 8
_SCALE = np.float32(1 / 255)


class View(NamedTuple):
    top: int
    left: int
    flip: bool


class Mean:
    """The mean image, float32 (3, side, side), as it is and mirrored."""

    def __init__(self, plain: npt.NDArray[np.float32]) -> None:
        self.plain = plain
        self.mirrored = np.ascontiguousarray(plain[:, :, ::-1])


def choose_view(side: int, insize: int, seed: int, index: int, epoch: Optional[int]) -> View:
    """``epoch`` None means validation: the centre, not flipped."""
    room = side - insize
    if epoch is None:
        return View(room // 2, room // 2, False)
    down, right = words(seed, Purpose.CROP, 2, epoch=epoch, sample=index)
    (coin,) = words(seed, Purpose.FLIP, 1, epoch=epoch, sample=index)
    return View(below(down, room + 1), below(right, room + 1), below(coin, 2) == 1)


def apply_view(
    pixels: npt.NDArray[np.uint8], mean: Mean, view: View, out: npt.NDArray[np.float32]
) -> None:
    """uint8 (3, side, side), in any memory order -> ``out``, float32 (3, insize, insize).

    The mean of the same pixels is subtracted and the difference scaled by 1/255, as Chainer's
    ImageNet example does, then mirrored.
    """
    side, insize = pixels.shape[2], out.shape[2]
    rows = slice(view.top, view.top + insize)
    band, shift, left = pixels[:, rows], mean.plain, view.left
    if view.flip:
        band, shift, left = _mirrored(band), mean.mirrored, side - left - insize
    columns = slice(left, left + insize)
    np.copyto(out, band[:, :, columns])
    out -= shift[:, rows, columns]
    out *= _SCALE


def _mirrored(band: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Each row backwards. Whole words first, then the bytes in them, is some three times as fast
    as byte by byte; it needs rows that lie in one piece."""
    if band.strides[2] != 1 or band.shape[2] % _WORD:
        return band[:, :, ::-1]
    return np.ascontiguousarray(band.view(np.uint64)[:, :, ::-1]).byteswap(True).view(np.uint8)
