"""Which part of an image is seen: random crop and flip in training, the centre in validation."""

from __future__ import annotations

from typing import NamedTuple, Optional, Sequence

import numpy as np
import numpy.typing as npt

from trainer.randomness import Purpose, all_below, first_words

_WORD = 8
SCALE = np.float32(1 / 255)


class View(NamedTuple):
    top: int
    left: int
    flip: bool


class MeanImage:
    """The mean image, float32 (3, side, side), as it is and mirrored."""

    def __init__(self, plain: npt.NDArray[np.float32]) -> None:
        self.plain = np.ascontiguousarray(plain)
        self.mirrored = np.ascontiguousarray(plain[:, :, ::-1])


def choose_views(
    side: int,
    insize: int,
    seed: int,
    indices: Sequence[int],
    epochs: Optional[Sequence[int]],
) -> npt.NDArray[np.int32]:
    """The views of a batch: int32 (n, 3) with columns top, left, flip.

    Each is a function of the seed, its sample's index and its epoch. ``epochs`` None means
    validation: the centre, not flipped.
    """
    room, count = side - insize, len(indices)
    if epochs is None:
        return np.tile(np.array([room // 2, room // 2, 0], np.int32), (count, 1))
    crop, coin = first_words(seed, (Purpose.CROP, Purpose.FLIP), epochs, indices)
    columns = [*all_below(crop[:2], room + 1), all_below(coin[0], 2)]
    return np.stack(columns, axis=1).astype(np.int32)


def cut_view(pixels: npt.NDArray[np.uint8], view: View, out: npt.NDArray[np.uint8]) -> None:
    """uint8 (3, side, side), in any memory order -> its part that is seen, mirrored where it is to
    be, into ``out``, uint8 (3, insize, insize)."""
    side, insize = pixels.shape[2], out.shape[2]
    left = view.left
    if view.flip:
        pixels, left = _mirrored(pixels), side - left - insize
    np.copyto(out, pixels[:, view.top : view.top + insize, left : left + insize])


def apply_view(
    pixels: npt.NDArray[np.uint8],
    mean: MeanImage,
    view: View,
    out: npt.NDArray[np.float32],
    scratch: npt.NDArray[np.float32],
) -> None:
    """uint8 (3, side, side), in any memory order -> ``out``, float32 (3, insize, insize).

    The mean of the same pixels is subtracted and the difference scaled by 1/255, as Chainer's
    ImageNet example does, then mirrored. On a GPU trainer.prefetch.normalization does the same to
    what :func:`cut_view` gives.

    Whole rows of one channel at a time go through ``scratch``, float32 (insize, side), which stays
    in the processor's cache: arithmetic on memory in one piece costs half of that on cut rows, and
    ``out`` is written once.
    """
    insize, side = scratch.shape
    rows, shift, left = slice(view.top, view.top + insize), mean.plain, view.left
    if view.flip:
        pixels, shift, left = _mirrored(pixels), mean.mirrored, side - left - insize
    band = pixels[:, rows]
    if band.strides[2] != 1:
        band = np.ascontiguousarray(band)  # bytes are put in order faster than numbers
    for channel in range(3):
        np.copyto(scratch, band[channel])
        np.subtract(scratch, shift[channel, rows], out=scratch)
        np.multiply(scratch, SCALE, out=scratch)
        np.copyto(out[channel], scratch[:, left : left + insize])


def _mirrored(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Each row backwards. Where pixels lie in one piece, all bytes backwards by words of 8, seen
    with channels and rows the other way round: three times as fast as byte by byte."""
    if not pixels.flags.c_contiguous or pixels.size % _WORD:
        return pixels[:, :, ::-1]
    words = pixels.reshape(-1).view(">u8")
    backwards = words[::-1].astype("<u8").view(np.uint8)
    return backwards.reshape(pixels.shape)[::-1, ::-1]
