"""Local response normalisation (Krizhevsky, Sutskever, Hinton 2012, section 3.3)."""

from __future__ import annotations

from typing import Any, Iterator, Tuple

import chainer
import numpy as np
import numpy.typing as npt

from trainer.gpu.lrn_kernels import backward_kernel, forward_kernel
from trainer.layers.channels_last import channel_pieces, channels_last, channels_second
from trainer.layers.cudnn import on_gpu

Array = npt.NDArray[Any]

K, ALPHA, BETA = 2.0, 1e-4, 0.75
#: Channels on each side that take part: the paper's n = 5 are two on each side and the channel.
REACH = 2


class LocalResponseNormalization(chainer.FunctionNode):  # type: ignore[misc]
    """y[c] = x[c] / (k + alpha * sum of x[j]**2 over the channels near c) ** beta

    The constants are the paper's. The power 3/4 is taken by two square roots, which IEEE 754
    rounds correctly, while ``pow`` has other last bits in another library.
    """

    def forward_cpu(self, inputs: Tuple[Array]) -> Tuple[Array]:
        self.retain_inputs((0,))
        x = channels_last(inputs[0])
        y = np.empty_like(x)
        for rows, target in in_pieces(x, y):
            np.multiply(rows, factor_of(scale_of(rows)), out=target)
        return (channels_second(y),)

    def forward_gpu(self, inputs: Tuple[Any]) -> Tuple[Any]:
        self.retain_inputs((0,))
        xp = chainer.backend.get_array_module(inputs[0])
        x = xp.ascontiguousarray(inputs[0])
        y = xp.empty(x.shape, x.dtype)
        self._scale = xp.empty(x.shape, np.float32)
        forward_kernel()(x.ravel(), *plane_sizes(x), REACH, K, ALPHA, y, self._scale)
        return (y,)

    def _backward_gpu(self, gy: Any) -> Any:
        xp = chainer.backend.get_array_module(gy)
        x = xp.ascontiguousarray(self.get_retained_inputs()[0].array)
        flat = x.ravel(), xp.ascontiguousarray(gy).ravel(), self._scale.ravel()
        gx = xp.empty(x.shape, x.dtype)
        backward_kernel()(*flat, *plane_sizes(x), REACH, ALPHA, BETA, gx)
        return gx

    def backward(
        self, indexes: Tuple[int, ...], grad_outputs: Tuple[chainer.Variable]
    ) -> Tuple[chainer.Variable]:
        del indexes
        if on_gpu(grad_outputs[0]):
            return (chainer.as_variable(self._backward_gpu(grad_outputs[0].array)),)
        x = channels_last(self.get_retained_inputs()[0].array)
        gx = np.empty_like(x)
        for rows, gy, target in in_pieces(x, channels_last(grad_outputs[0].array), gx):
            scale = scale_of(rows)
            passed = gy * factor_of(scale)
            shared = passed * rows
            shared /= scale
            np.multiply(near_sum(shared), rows, out=target)
            target *= rows.dtype.type(-2 * ALPHA * BETA)
            target += passed
        return (chainer.as_variable(channels_second(gx)),)


def plane_sizes(x: Any) -> Tuple[int, int]:
    """(N, C, H, W) -> C, H * W"""
    return x.shape[1], x.shape[2] * x.shape[3]


def in_pieces(*arrays: Array) -> Iterator[Tuple[Array, ...]]:
    """The same rows of channels of each array, a few at a time."""
    channels = arrays[0].shape[-1]
    flat = [array.reshape(-1, channels) for array in arrays]
    for piece in channel_pieces(len(flat[0]), channels):
        yield tuple(rows[piece] for rows in flat)


def scale_of(x: Array) -> Array:
    scale = near_sum(x * x)
    scale *= x.dtype.type(ALPHA)
    scale += x.dtype.type(K)
    return scale


def factor_of(scale: Array) -> Array:
    root = np.sqrt(scale)
    power: Array = root * np.sqrt(root)
    return np.reciprocal(power, out=power)


def near_sum(x: Array) -> Array:
    """(n, C): for each channel the sum over itself and REACH channels on each side."""
    total = x.copy()
    for distance in range(1, REACH + 1):
        total[:, distance:] += x[:, :-distance]
        total[:, :-distance] += x[:, distance:]
    return total


def local_response_normalization(x: Any) -> chainer.Variable:
    return LocalResponseNormalization().apply((x,))[0]
