"""Max pooling on the CPU, in the memory order of trainer.models.convolution."""

from __future__ import annotations

from typing import Any, Iterator, Tuple

import chainer
import numpy as np
import numpy.typing as npt

from trainer.models.convolution import samples_first, samples_last

Array = npt.NDArray[Any]


class MaxPooling2DFunction(chainer.FunctionNode):  # type: ignore[misc]
    """Windows cover every input (the last may hang over the edge, as in Caffe and Chainer).

    Of equal values the first one in row order gets the gradient.
    """

    def __init__(self, kernel: int, stride: int) -> None:
        self.kernel = kernel
        self.stride = stride

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
        samples, channels, rows, columns = self._input_shape
        empty = np.zeros((channels, rows, columns, samples), dtype=gy.dtype)
        target = self._covered(empty, 0.0)
        for place, view in self._windows(target, gy.shape):
            view += gy * (self._chosen == place)
        return (chainer.as_variable(samples_first(target[:, :rows, :columns])),)

    def _output_side(self, shape: Tuple[int, ...]) -> Tuple[int, int]:
        rows, columns = (-(-(side - self.kernel) // self.stride) + 1 for side in shape[2:])
        return rows, columns

    def _covered(self, x: Array, value: float) -> Array:
        """Extend rows and columns with ``value`` so that the last windows fit."""
        channels, rows, columns, samples = x.shape
        out_rows, out_columns = self._output_side((samples, channels, rows, columns))
        full_rows = (out_rows - 1) * self.stride + self.kernel
        full_columns = (out_columns - 1) * self.stride + self.kernel
        if (full_rows, full_columns) == (rows, columns):
            return x
        full = np.full((channels, full_rows, full_columns, samples), value, dtype=x.dtype)
        full[:, :rows, :columns] = x[:, :full_rows, :full_columns]
        return full

    def _windows(self, x: Array, shape: Tuple[int, ...]) -> Iterator[Tuple[int, Array]]:
        stride = self.stride
        high = (shape[1] - 1) * stride + 1
        wide = (shape[2] - 1) * stride + 1
        for down in range(self.kernel):
            for right in range(self.kernel):
                view = x[:, down : down + high : stride, right : right + wide : stride]
                yield down * self.kernel + right, view


def max_pooling_2d(x: Any, kernel: int, stride: int) -> chainer.Variable:
    return MaxPooling2DFunction(kernel, stride).apply((x,))[0]
