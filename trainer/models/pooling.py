"""Max and average pooling on the CPU, in the memory order of trainer.models.convolution."""

from __future__ import annotations

from typing import Any, Iterator, Tuple

import chainer
import numpy as np
import numpy.typing as npt

from trainer.models.convolution import samples_first, samples_last

Array = npt.NDArray[Any]


class Pooling2DFunction(chainer.FunctionNode):  # type: ignore[misc]
    """Windows cover every input (the last may hang over the edge, as in Caffe and Chainer)."""

    def __init__(self, kernel: int, stride: int, pad: int = 0) -> None:
        self.kernel = kernel
        self.stride = stride
        self.pad = pad

    def _output_side(self, shape: Tuple[int, ...]) -> Tuple[int, int]:
        rows, columns = (
            -(-(side + 2 * self.pad - self.kernel) // self.stride) + 1 for side in shape[2:]
        )
        return rows, columns

    def _inner(self, shape: Tuple[int, ...]) -> Tuple[slice, ...]:
        """Where (C, H, W, N) lies in the array that the windows are taken from."""
        rows, columns = (slice(self.pad, self.pad + side) for side in shape[2:])
        return slice(None), rows, columns

    def _covered(self, x: Array, value: float) -> Array:
        """Extend rows and columns with ``value`` so that all windows fit."""
        channels, rows, columns, samples = x.shape
        shape = (samples, channels, rows, columns)
        full_rows, full_columns = (
            max((out - 1) * self.stride + self.kernel, side + self.pad)
            for out, side in zip(self._output_side(shape), (rows, columns))
        )
        if (full_rows, full_columns) == (rows, columns):
            return x
        full = np.full((channels, full_rows, full_columns, samples), value, dtype=x.dtype)
        full[self._inner(shape)] = x
        return full

    def _windows(self, x: Array, shape: Tuple[int, ...]) -> Iterator[Tuple[int, Array]]:
        stride = self.stride
        high = (shape[1] - 1) * stride + 1
        wide = (shape[2] - 1) * stride + 1
        for down in range(self.kernel):
            for right in range(self.kernel):
                view = x[:, down : down + high : stride, right : right + wide : stride]
                yield down * self.kernel + right, view

    def _zeros(self, dtype: Any) -> Array:
        """An array of the size that the windows are taken from."""
        samples, channels, rows, columns = self._input_shape
        return self._covered(np.zeros((channels, rows, columns, samples), dtype=dtype), 0.0)


class MaxPooling2DFunction(Pooling2DFunction):
    """Of equal values the first one in row order gets the gradient."""

    def forward_cpu(self, inputs: Tuple[Array]) -> Tuple[Array]:
        (x,) = inputs
        self.retain_inputs(())
        self._input_shape = x.shape
        source = self._covered(samples_last(x), -np.inf)
        channels, samples = source.shape[0], source.shape[3]
        shape = (channels, *self._output_side(x.shape), samples)
        y = np.full(shape, -np.inf, dtype=x.dtype)
        self._chosen = np.zeros(shape, dtype=np.uint8)
        for place, view in self._windows(source, shape):
            np.copyto(self._chosen, place, where=view > y)
            np.maximum(y, view, out=y)
        return (samples_first(y),)

    def backward(
        self, indexes: Tuple[int, ...], grad_outputs: Tuple[chainer.Variable]
    ) -> Tuple[chainer.Variable]:
        del indexes
        gy = samples_last(grad_outputs[0].array)
        target = self._zeros(gy.dtype)
        for place, view in self._windows(target, gy.shape):
            view += gy * (self._chosen == place)
        return (chainer.as_variable(samples_first(target[self._inner(self._input_shape)])),)


class AveragePooling2DFunction(Pooling2DFunction):
    """Zeros outside count as inputs, as in Caffe and Chainer."""

    def forward_cpu(self, inputs: Tuple[Array]) -> Tuple[Array]:
        (x,) = inputs
        self.retain_inputs(())
        self._input_shape = x.shape
        source = self._covered(samples_last(x), 0.0)
        shape = (source.shape[0], *self._output_side(x.shape), source.shape[3])
        y = np.zeros(shape, dtype=x.dtype)
        for _, view in self._windows(source, shape):
            y += view
        y *= x.dtype.type(1 / self.kernel**2)
        return (samples_first(y),)

    def backward(
        self, indexes: Tuple[int, ...], grad_outputs: Tuple[chainer.Variable]
    ) -> Tuple[chainer.Variable]:
        del indexes
        gy = samples_last(grad_outputs[0].array)
        share = gy * gy.dtype.type(1 / self.kernel**2)
        target = self._zeros(gy.dtype)
        for _, view in self._windows(target, gy.shape):
            view += share
        return (chainer.as_variable(samples_first(target[self._inner(self._input_shape)])),)


def max_pooling_2d(x: Any, kernel: int, stride: int, pad: int = 0) -> chainer.Variable:
    return MaxPooling2DFunction(kernel, stride, pad).apply((x,))[0]


def average_pooling_2d(x: Any, kernel: int, stride: int, pad: int = 0) -> chainer.Variable:
    return AveragePooling2DFunction(kernel, stride, pad).apply((x,))[0]
