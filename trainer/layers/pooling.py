"""Max and average pooling: on the CPU here, in the memory order of trainer.layers.channels_last."""

from __future__ import annotations

from typing import Any, Iterator, Tuple

import chainer
import chainer.functions as F
import numpy as np
import numpy.typing as npt

from trainer.layers import cudnn
from trainer.layers.channels_last import PIECE, channels_last, channels_second, overlap

Array = npt.NDArray[Any]

#: Some outputs of (N, H, W, C).
Seen = Tuple[slice, slice, slice]


class Pooling2DFunction(chainer.FunctionNode):  # type: ignore[misc]
    """Windows cover every input (the last may hang over the edge, as in Caffe and Chainer)."""

    def __init__(self, kernel: int, stride: int, pad: int = 0) -> None:
        self.kernel = kernel
        self.stride = stride
        self.pad = pad

    def _empty_output(self, x: Array) -> Array:
        samples, *sides, channels = x.shape
        rows, columns = (
            -(-(side + 2 * self.pad - self.kernel) // self.stride) + 1 for side in sides
        )
        return np.empty((samples, rows, columns, channels), dtype=x.dtype)

    def _bands(self, y: Array) -> Iterator[Tuple[slice, slice]]:
        """Cut the outputs (N, H, W, C) into rows of some images, so that a part fits the cache."""
        samples, rows, columns, channels = y.shape
        height = max(1, PIECE // (self.stride**2 * columns * channels))
        images = max(1, height // rows)
        for start in range(0, samples, images):
            for first in range(0, rows, height):
                yield (
                    slice(start, min(start + images, samples)),
                    slice(first, min(first + height, rows)),
                )

    def _windows(self, x: Array, y: Array, first: int) -> Iterator[Tuple[Array, Seen]]:
        """For each place in the window, row by row: the view of ``x`` that outputs ``y`` see there,
        and which of them; the others see nothing but places outside of ``x``.

        ``first`` is the number of the first row of ``y`` among all outputs.
        """
        for down in range(self.kernel):
            top = first * self.stride + down - self.pad
            rows, x_rows = overlap(top, self.stride, y.shape[1], x.shape[1])
            for right in range(self.kernel):
                columns, x_columns = overlap(right - self.pad, self.stride, y.shape[2], x.shape[2])
                yield x[:, x_rows, x_columns], (slice(None), rows, columns)


class MaxPooling2DFunction(Pooling2DFunction):
    """Of equal values the first one in row order gets the gradient."""

    def forward_cpu(self, inputs: Tuple[Array]) -> Tuple[Array]:
        self.retain_inputs((0,))
        self.retain_outputs((0,))
        x = channels_last(inputs[0])
        y = self._empty_output(x)
        y.fill(-np.inf)
        for images, rows in self._bands(y):
            some = y[images, rows]
            for view, seen in self._windows(x[images], some, rows.start):
                np.maximum(some[seen], view, out=some[seen])
        return (channels_second(y),)

    def backward(
        self, indexes: Tuple[int, ...], grad_outputs: Tuple[chainer.Variable]
    ) -> Tuple[chainer.Variable]:
        del indexes
        x = channels_last(self.get_retained_inputs()[0].array)
        y = channels_last(self.get_retained_outputs()[0].array)
        gy = channels_last(grad_outputs[0].array)
        gx = np.zeros_like(x)
        for images, rows in self._bands(y):
            some, gradient = y[images, rows], gy[images, rows]
            left = np.ones(some.shape, dtype=np.bool_)
            windows = self._windows(x[images], some, rows.start)
            targets = self._windows(gx[images], some, rows.start)
            for (view, seen), (target, _) in zip(windows, targets):
                chosen = view == some[seen]
                chosen &= left[seen]
                left[seen] ^= chosen
                target += gradient[seen] * chosen
        return (chainer.as_variable(channels_second(gx)),)


class AveragePooling2DFunction(Pooling2DFunction):
    """Zeros outside count as inputs, as in Caffe and Chainer."""

    def forward_cpu(self, inputs: Tuple[Array]) -> Tuple[Array]:
        self._input_shape = inputs[0].shape
        self.retain_inputs(())
        x = channels_last(inputs[0])
        y = self._empty_output(x)
        y.fill(0)
        for images, rows in self._bands(y):
            some = y[images, rows]
            for view, seen in self._windows(x[images], some, rows.start):
                some[seen] += view
        y *= x.dtype.type(1 / self.kernel**2)
        return (channels_second(y),)

    def backward(
        self, indexes: Tuple[int, ...], grad_outputs: Tuple[chainer.Variable]
    ) -> Tuple[chainer.Variable]:
        del indexes
        gy = channels_last(grad_outputs[0].array)
        share = gy * gy.dtype.type(1 / self.kernel**2)
        samples, channels, rows, columns = self._input_shape
        gx = np.zeros((samples, rows, columns, channels), dtype=gy.dtype)
        for images, band in self._bands(share):
            some = share[images, band]
            for target, seen in self._windows(gx[images], some, band.start):
                target += some[seen]
        return (chainer.as_variable(channels_second(gx)),)


def max_pooling_2d(x: Any, kernel: int, stride: int, pad: int = 0) -> chainer.Variable:
    if cudnn.on_gpu(x):
        return cudnn.max_pooling(x, kernel, stride, pad)
    return MaxPooling2DFunction(kernel, stride, pad).apply((x,))[0]


def average_pooling_2d(x: Any, kernel: int, stride: int, pad: int = 0) -> chainer.Variable:
    if cudnn.on_gpu(x):
        return cudnn.average_pooling(x, kernel, stride, pad)
    return AveragePooling2DFunction(kernel, stride, pad).apply((x,))[0]


def global_average(x: Any) -> chainer.Variable:
    """(N, C, H, W) -> (N, C)"""
    return cudnn.global_average(x) if cudnn.on_gpu(x) else F.average(x, axis=(2, 3))
