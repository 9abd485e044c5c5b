"""Two-dimensional convolution on the CPU.

Shapes are Chainer's (samples, channels, rows, columns); in memory the samples run fastest, so
that each line of the unfolded matrix is one long copy and a 1x1 convolution is a single matrix
product. Any memory order is accepted; results have the fast one.
"""

from __future__ import annotations

from typing import Any, Iterator, Optional, Tuple

import chainer
import chainer.functions as F
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

#: Elements of the unfolded matrix that are made at a time (16 MB of float32). It decides how
#: sums over output positions are grouped, hence bits: part of the format.
UNFOLDED_ELEMENTS = 1 << 22


def samples_last(x: Array) -> Array:
    """(N, C, H, W) in any memory order -> contiguous (C, H, W, N); no copy in the fast order."""
    return np.ascontiguousarray(x.transpose(1, 2, 3, 0))


def samples_first(x: Array) -> Array:
    """(C, H, W, N) -> (N, C, H, W), a view."""
    return x.transpose(3, 0, 1, 2)


class Convolution2DFunction(chainer.FunctionNode):  # type: ignore[misc]
    """y[n, o] = b[o] + sum over channels and window of W[o] * x[n], zeros outside.

    Arguments x, W and, unless there is no bias, b.
    """

    def __init__(self, stride: int, pad: int) -> None:
        self.stride = stride
        self.pad = pad

    def forward_cpu(self, inputs: Tuple[Array, ...]) -> Tuple[Array]:
        x, weights, *bias = inputs
        self.retain_inputs((0, 1))
        kernel = weights.shape[2]
        flat = weights.reshape(len(weights), -1)
        source = self._padded(x)
        rows, columns = self._output_side(source.shape[1], source.shape[2], kernel)
        y = np.empty((len(weights), rows, columns, len(x)), dtype=x.dtype)
        for first, last in self._bands(flat.shape[1], rows, columns * len(x)):
            unfolded = self._unfold(source, kernel, first, last, columns)
            band = (flat @ unfolded).reshape(len(weights), last - first, columns, len(x))
            if bias:
                np.add(band, bias[0][:, None, None, None], out=y[:, first:last])
            else:
                y[:, first:last] = band
        return (samples_first(y),)

    def backward(
        self, indexes: Tuple[int, ...], grad_outputs: Tuple[chainer.Variable]
    ) -> Tuple[chainer.Variable, ...]:
        x, weights = (variable.array for variable in self.get_retained_inputs())
        gradients = self._gradients(x, weights, samples_last(grad_outputs[0].array), 0 in indexes)
        return tuple(chainer.as_variable(gradients[index]) for index in indexes)

    def _gradients(
        self, x: Array, weights: Array, gy: Array, needs_gx: bool
    ) -> Tuple[Any, Array, Array]:
        kernel = weights.shape[2]
        outputs, rows, columns, samples = gy.shape
        flat = weights.reshape(outputs, -1)
        source = self._padded(x)
        g_weights = np.zeros_like(flat)
        g_source = np.zeros_like(source) if needs_gx else None
        for first, last in self._bands(flat.shape[1], rows, columns * samples):
            g_band = np.ascontiguousarray(gy[:, first:last]).reshape(outputs, -1)
            g_weights += g_band @ self._unfold(source, kernel, first, last, columns).T
            if g_source is not None:
                self._fold(flat.T @ g_band, g_source, kernel, first, last, columns)
        gx = None
        if g_source is not None:
            inner = slice(self.pad, -self.pad or None)
            gx = samples_first(g_source[:, inner, inner])
        return gx, g_weights.reshape(weights.shape), gy.reshape(outputs, -1).sum(axis=1)

    def _padded(self, x: Array) -> Array:
        """(C, H + 2 pad, W + 2 pad, N)"""
        if not self.pad:
            return samples_last(x)
        samples, channels, rows, columns = x.shape
        pad = self.pad
        padded = np.zeros((channels, rows + 2 * pad, columns + 2 * pad, samples), dtype=x.dtype)
        padded[:, pad:-pad, pad:-pad] = x.transpose(1, 2, 3, 0)
        return padded

    def _output_side(self, rows: int, columns: int, kernel: int) -> Tuple[int, int]:
        return (rows - kernel) // self.stride + 1, (columns - kernel) // self.stride + 1

    def _bands(self, depth: int, rows: int, width: int) -> Iterator[Tuple[int, int]]:
        """Cut the output rows so that ``depth`` x positions stays below UNFOLDED_ELEMENTS."""
        height = max(1, UNFOLDED_ELEMENTS // (depth * width))
        for first in range(0, rows, height):
            yield first, min(first + height, rows)

    def _windows(
        self, source: Array, kernel: int, first: int, last: int, columns: int
    ) -> Iterator[Tuple[int, int, Array]]:
        """For each place in the window, the view of ``source`` that it sees."""
        stride = self.stride
        for down in range(kernel):
            top = first * stride + down
            for right in range(kernel):
                yield (
                    down,
                    right,
                    source[
                        :,
                        top : top + (last - first - 1) * stride + 1 : stride,
                        right : right + (columns - 1) * stride + 1 : stride,
                    ],
                )

    def _unfold(self, source: Array, kernel: int, first: int, last: int, columns: int) -> Array:
        """(C * kernel * kernel, output positions * N)"""
        channels, samples = source.shape[0], source.shape[3]
        if kernel == 1 and self.stride == 1:
            return source[:, first:last].reshape(channels, -1)
        shape = (channels, kernel, kernel, last - first, columns, samples)
        unfolded = np.empty(shape, dtype=source.dtype)
        for down, right, view in self._windows(source, kernel, first, last, columns):
            unfolded[:, down, right] = view
        return unfolded.reshape(channels * kernel * kernel, -1)

    def _fold(
        self, unfolded: Array, target: Array, kernel: int, first: int, last: int, columns: int
    ) -> None:
        """Add each place of the window back to where it was taken from."""
        channels, samples = target.shape[0], target.shape[3]
        parts = unfolded.reshape(channels, kernel, kernel, last - first, columns, samples)
        for down, right, view in self._windows(target, kernel, first, last, columns):
            view += parts[:, down, right]


class Convolution2D(chainer.Link):  # type: ignore[misc]
    """Weights are set by :mod:`trainer.initial`; biases begin at ``bias``, None means no biases.

    With ``groups`` the channels of input and output are cut into so many parts, and each part of
    the output sees its part of the input only.
    """

    def __init__(
        self,
        channels: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        pad: int = 0,
        groups: int = 1,
        bias: Optional[float] = 0.0,
    ) -> None:
        super().__init__()
        self.stride = stride
        self.pad = pad
        self.groups = groups
        with self.init_scope():
            shape = (outputs, channels // groups, kernel, kernel)
            self.W = chainer.Parameter(np.float32(0), shape)
            if bias is not None:
                self.b = chainer.Parameter(np.float32(bias), (outputs,))

    def forward(self, x: Any) -> chainer.Variable:
        arguments = (x, *(getattr(self, name) for name in ("W", "b") if hasattr(self, name)))
        if self.groups == 1:
            return self._apply(arguments)
        parts = (
            F.split_axis(argument, self.groups, axis)
            for argument, axis in zip(arguments, (1, 0, 0))
        )
        return F.concat([self._apply(part) for part in zip(*parts)], axis=1)

    def _apply(self, arguments: Tuple[Any, ...]) -> chainer.Variable:
        return Convolution2DFunction(self.stride, self.pad).apply(arguments)[0]
