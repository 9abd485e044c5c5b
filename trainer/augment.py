"""Which part of an image is seen: random crop and flip in training, the centre in validation."""

from __future__ import annotations

from typing import NamedTuple, Optional

import numpy as np
import numpy.typing as npt

from trainer.randomness import Purpose, below, words


class View(NamedTuple):
    top: int
    left: int
    flip: bool


def choose_view(side: int, insize: int, seed: int, index: int, epoch: Optional[int]) -> View:
    """``epoch`` None means validation: the centre, not flipped."""
    room = side - insize
    if epoch is None:
        return View(room // 2, room // 2, False)
    down, right = words(seed, Purpose.CROP, 2, epoch=epoch, sample=index)
    (coin,) = words(seed, Purpose.FLIP, 1, epoch=epoch, sample=index)
    return View(below(down, room + 1), below(right, room + 1), below(coin, 2) == 1)


def apply_view(
    pixels: npt.NDArray[np.uint8], mean: npt.NDArray[np.float32], insize: int, view: View
) -> npt.NDArray[np.float32]:
    """uint8 (side, side, 3), float32 (3, side, side) -> float32 (3, insize, insize).

    The mean of the same pixels is subtracted and the difference scaled by 1/255, as Chainer's
    ImageNet example does, then mirrored.
    """
    rows = slice(view.top, view.top + insize)
    columns = slice(view.left, view.left + insize)
    sample = pixels[rows, columns].transpose(2, 0, 1).astype(np.float32)
    sample -= mean[:, rows, columns]
    sample *= np.float32(1 / 255)
    return np.ascontiguousarray(sample[:, :, ::-1] if view.flip else sample)
