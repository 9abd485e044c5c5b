"""Which part of an image is seen: random crop and flip in training, the centre in validation."""

from __future__ import annotations

from typing import Callable, NamedTuple, Optional, Sequence

import numpy as np
import numpy.typing as npt

from trainer.randomness import Purpose, all_below, first_words

_WORD = 8
SCALE = np.float32(1 / 255)


class View(NamedTuple):
    top: int
    left: int
    flip: bool


#: A channel -> what is seen of it, uint8 (insize, insize).
Seen = Callable[[int], "npt.NDArray[np.uint8]"]


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
    insize = out.shape[2]
    rows, columns = slice(view.top, view.top + insize), slice(view.left, view.left + insize)
    part = pixels[:, rows, columns]
    if not view.flip or not pixels.flags.c_contiguous:
        np.copyto(out, part[:, :, ::-1] if view.flip else part)
    elif out.size % _WORD or out.ctypes.data % _WORD:
        for plane, seen in zip(pixels, out):
            np.copyto(seen, seen_part(plane, view, insize))
    else:
        upside_down = np.ascontiguousarray(part[::-1, ::-1])
        np.copyto(out.reshape(-1).view("<u8"), upside_down.reshape(-1).view(">u8")[::-1])


def seen_part(plane: npt.NDArray[np.uint8], view: View, insize: int) -> npt.NDArray[np.uint8]:
    """One channel, uint8 (side, side) -> what is seen of it, (insize, insize), in some memory."""
    rows, left = plane[view.top : view.top + insize], view.left
    if view.flip:
        rows, left = _mirrored(rows), plane.shape[1] - left - insize
    return rows[:, left : left + insize]


def subtract_mean(
    images: Sequence[Seen],
    mean: MeanImage,
    views: Sequence[View],
    out: npt.NDArray[np.float32],
) -> None:
    """What is seen of n images -> ``out``, float32 (n, 3, insize, insize). What is seen of one may
    lie at the end of its place in ``out``.

    The mean of the same pixels is subtracted and the difference scaled by 1/255, as Chainer's
    ImageNet example does. On a GPU trainer.prefetch.normalization does the same.

    One channel of all images comes after another, and first all that are not mirrored: the part of
    the mean image that is in use, and the part of ``out``, stay in the processor's cache.
    """
    insize = out.shape[2]
    turns = sorted(range(len(views)), key=lambda number: views[number].flip)
    for channel in range(3):
        for number in turns:
            view, found = views[number], out[number, channel]
            shift, left = mean.plain, view.left
            if view.flip:
                shift, left = mean.mirrored, shift.shape[2] - left - insize
            rows, columns = slice(view.top, view.top + insize), slice(left, left + insize)
            np.copyto(found, images[number](channel))
            np.subtract(found, shift[channel, rows, columns], out=found)
            np.multiply(found, SCALE, out=found)


def _mirrored(rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Each row backwards. Where rows lie in one piece, all bytes backwards by words of 8, seen with
    the rows the other way round: three times as fast as byte by byte."""
    if not rows.flags.c_contiguous or rows.size % _WORD:
        return rows[:, ::-1]
    words = rows.reshape(-1).view(">u8")
    backwards = words[::-1].astype("<u8").view(np.uint8)
    return backwards.reshape(rows.shape)[::-1]
