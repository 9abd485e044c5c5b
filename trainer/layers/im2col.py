"""Convolution as one matrix product of the unfolded input, for windows and strides of any size.

All arrays are (N, H, W, C).
"""

from __future__ import annotations

from typing import Any, Callable, Iterator, Optional, Tuple

import numpy as np
import numpy.typing as npt

from trainer.layers.channels_last import Band, Sum, bands

Array = npt.NDArray[Any]

#: Elements that a band of the unfolded input and of the output have together (4 MB of float32).
#: It decides how sums over output positions are grouped, hence bits: part of the format.
BAND_ELEMENTS = 1 << 20


class Im2col:
    def __init__(self, kernel: int, stride: int, pad: int) -> None:
        self.kernel = kernel
        self.stride = stride
        self.pad = pad

    def forward(self, x: Array, weights: Array, finish: Callable[[Band, Array], None]) -> Array:
        """x (N, H, W, C), weights (O, C, k, k) -> (N, rows, columns, O).

        ``finish`` gets each band of the output as soon as it is there, and may change it.
        """
        flat = flattened(weights).T
        source = self._padded(x)
        y = np.empty((*self._output_shape(source), len(weights)), dtype=x.dtype)
        for band in self._bands(y.shape, len(flat)):
            unfolded = self._unfold(source, band, y.shape[2])
            np.dot(unfolded, flat, out=y[band].reshape(-1, len(weights)))
            finish(band, y[band])
        return y

    def gradients(
        self, x: Array, weights: Array, gradient: Callable[[Band], Array], needs_gx: bool
    ) -> Tuple[Optional[Array], Array]:
        """Of x and of the weights; ``gradient`` gives that of a band of the output."""
        outputs, channels, kernel = weights.shape[:3]
        flat = flattened(weights)
        source = self._padded(x)
        shape = (*self._output_shape(source), outputs)
        g_flat = Sum()
        plain = kernel == 1 and self.stride == 1
        g_source = None
        if needs_gx:
            g_source = np.empty_like(source) if plain else np.zeros_like(source)
        for band in self._bands(shape, flat.shape[1]):
            g_band = gradient(band).reshape(-1, outputs)
            g_flat.add(g_band.T @ self._unfold(source, band, shape[2]))
            if g_source is None:
                continue
            if plain:
                np.dot(g_band, flat, out=g_source[band].reshape(-1, channels))
            else:
                self._fold(g_band @ flat, g_source, band, shape[2])
        gx = None
        if g_source is not None:
            inner = slice(self.pad, -self.pad or None)
            gx = g_source[:, inner, inner]
        by_channel = g_flat.total.reshape(outputs, kernel, kernel, channels)
        return gx, np.ascontiguousarray(by_channel.transpose(0, 3, 1, 2))

    def _padded(self, x: Array) -> Array:
        """(N, H + 2 pad, W + 2 pad, C)"""
        if not self.pad:
            return x
        samples, rows, columns, channels = x.shape
        pad = self.pad
        padded = np.zeros((samples, rows + 2 * pad, columns + 2 * pad, channels), dtype=x.dtype)
        padded[:, pad:-pad, pad:-pad] = x
        return padded

    def _output_shape(self, source: Array) -> Tuple[int, int, int]:
        rows, columns = ((side - self.kernel) // self.stride + 1 for side in source.shape[1:3])
        return len(source), rows, columns

    def _bands(self, shape: Tuple[int, ...], depth: int) -> Iterator[Band]:
        samples, rows, columns, outputs = shape
        return bands(samples, rows, BAND_ELEMENTS // ((depth + outputs) * columns))

    def _unfold(self, source: Array, band: Band, columns: int) -> Array:
        """(output positions of the band, kernel * kernel * C)"""
        images, rows = band
        kernel, stride, channels = self.kernel, self.stride, source.shape[3]
        if kernel == 1 and stride == 1:
            return source[band].reshape(-1, channels)
        samples, height = images.stop - images.start, rows.stop - rows.start
        unfolded = np.empty(
            (samples, height, columns, kernel, kernel * channels), dtype=source.dtype
        )
        to_image, to_row, to_column, to_channel = source.strides
        for down in range(kernel):
            # A row of a window lies in one piece.
            unfolded[:, :, :, down] = np.lib.stride_tricks.as_strided(
                source[images, rows.start * stride + down :],
                (samples, height, columns, kernel * channels),
                (to_image, stride * to_row, stride * to_column, to_channel),
                writeable=False,
            )
        return unfolded.reshape(-1, kernel * kernel * channels)

    def _fold(self, unfolded: Array, target: Array, band: Band, columns: int) -> None:
        """Add each place of the window back to where it was taken from."""
        images, rows = band
        kernel, stride, channels = self.kernel, self.stride, target.shape[3]
        samples, height = images.stop - images.start, rows.stop - rows.start
        parts = unfolded.reshape(samples, height, columns, kernel, kernel, channels)
        for down in range(kernel):
            top = rows.start * stride + down
            for right in range(kernel):
                view = target[
                    images,
                    top : top + (height - 1) * stride + 1 : stride,
                    right : right + (columns - 1) * stride + 1 : stride,
                ]
                view += parts[:, :, :, down, right]


def flattened(weights: Array) -> Array:
    """(O, C, k, k) -> (O, k * k * C)"""
    return np.ascontiguousarray(weights.transpose(0, 2, 3, 1)).reshape(len(weights), -1)
