"""Which part of an image is seen: random crop and flip in training, the centre in validation."""

from __future__ import annotations

from typing import Any, NamedTuple, Optional, Sequence

import numpy as np
import numpy.typing as npt

from trainer.randomness import Purpose, all_below, below, first_words, words

_WORD = 8
SCALE = np.float32(1 / 255)


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


def choose_views(
    side: int,
    insize: int,
    seed: int,
    indices: Sequence[int],
    epochs: Optional[Sequence[int]],
) -> npt.NDArray[np.int32]:
    """The views of a batch at once, as :func:`choose_view` gives them: int32 (n, 3) with columns
    top, left, flip."""
    room, count = side - insize, len(indices)
    if epochs is None:
        return np.tile(np.array([room // 2, room // 2, 0], np.int32), (count, 1))
    crop = first_words(seed, Purpose.CROP, epochs, indices)
    coin = first_words(seed, Purpose.FLIP, epochs, indices)
    columns = [all_below(crop[0], room + 1), all_below(crop[1], room + 1), all_below(coin[0], 2)]
    return np.stack(columns, axis=1).astype(np.int32)


def cut_view(pixels: npt.NDArray[np.uint8], view: View, out: npt.NDArray[Any]) -> None:
    """uint8 (3, side, side), in any memory order -> its part that is seen, mirrored where it is to
    be, into ``out``, uint8 or float32 (3, insize, insize)."""
    side, insize = pixels.shape[2], out.shape[2]
    band, left = pixels[:, view.top : view.top + insize], view.left
    if view.flip:
        band, left = _mirrored(band), side - left - insize
    np.copyto(out, band[:, :, left : left + insize])


def apply_view(
    pixels: npt.NDArray[np.uint8], mean: Mean, view: View, out: npt.NDArray[np.float32]
) -> None:
    """uint8 (3, side, side), in any memory order -> ``out``, float32 (3, insize, insize).

    The mean of the same pixels is subtracted and the difference scaled by 1/255, as Chainer's
    ImageNet example does, then mirrored. On a GPU trainer.prefetch.normalization does the same to
    what :func:`cut_view` gives.
    """
    cut_view(pixels, view, out)
    side, insize = pixels.shape[2], out.shape[2]
    shift, left = mean.plain, view.left
    if view.flip:
        shift, left = mean.mirrored, side - left - insize
    out -= shift[:, view.top : view.top + insize, left : left + insize]
    out *= SCALE


def _mirrored(band: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Each row backwards. Whole words first, then the bytes in them, is some three times as fast
    as byte by byte; it needs rows that lie in one piece."""
    if band.strides[2] != 1 or band.shape[2] % _WORD:
        return band[:, :, ::-1]
    return np.ascontiguousarray(band.view(np.uint64)[:, :, ::-1]).byteswap(True).view(np.uint8)
