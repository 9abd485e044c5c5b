"""Two-dimensional convolution, with bias and ReLU: on the CPU here, on GPUs by cuDNN."""

from __future__ import annotations

from typing import Any, Optional, Tuple, Union

import chainer
import chainer.functions as F
import numpy as np
import numpy.typing as npt

from trainer.layers import cudnn, winograd
from trainer.layers.channels_last import Band, channels_last, channels_second, column_sums
from trainer.layers.im2col import Im2col
from trainer.layers.winograd import Winograd

Array = npt.NDArray[Any]

#: With fewer channels, tiles cost more than they save.
WINOGRAD_CHANNELS = 32


def method_for(weights: Array, stride: int, pad: int) -> Union[Winograd, Im2col]:
    """How to convolve with weights (O, C, k, k): a function of their shape and the stride."""
    channels, kernel = weights.shape[1:3]
    if (kernel, stride) == (winograd.KERNEL, 1) and channels >= WINOGRAD_CHANNELS:
        return Winograd(pad)
    return Im2col(kernel, stride, pad)


class Convolution2DFunction(chainer.FunctionNode):  # type: ignore[misc]
    """y[n, o] = b[o] + sum over channels and window of W[o] * x[n], zeros outside; then ReLU.

    Arguments x, W and, unless there is no bias, b.
    """

    def __init__(self, stride: int, pad: int, relu: bool = False) -> None:
        self.stride = stride
        self.pad = pad
        self.relu = relu

    def forward_cpu(self, inputs: Tuple[Array, ...]) -> Tuple[Array]:
        x, weights, *bias = inputs
        self.retain_inputs((0, 1))
        if self.relu:
            self.retain_outputs((0,))

        def finish(band: Band, y: Array) -> None:
            if bias:
                y += bias[0]
            if self.relu:
                np.maximum(y, 0, out=y)

        method = method_for(weights, self.stride, self.pad)
        return (channels_second(method.forward(channels_last(x), weights, finish)),)

    def backward(
        self, indexes: Tuple[int, ...], grad_outputs: Tuple[chainer.Variable]
    ) -> Tuple[Optional[chainer.Variable], ...]:
        x, weights = (variable.array for variable in self.get_retained_inputs())
        gy = channels_last(grad_outputs[0].array)
        y = channels_last(self.get_retained_outputs()[0].array) if self.relu else None
        g_bias = np.zeros(len(weights), dtype=np.float64)

        def passed(band: Band) -> Array:
            gradient = gy[band] if y is None else gy[band] * (y[band] > 0)
            if 2 in indexes:
                np.add(g_bias, column_sums(gradient.reshape(-1, len(g_bias))), out=g_bias)
            return gradient

        method = method_for(weights, self.stride, self.pad)
        gx, g_weights = method.gradients(channels_last(x), weights, passed, 0 in indexes)
        gradients = (
            None if gx is None else channels_second(gx),
            g_weights,
            g_bias.astype(gy.dtype),
        )
        return tuple(chainer.as_variable(gradients[index]) for index in indexes)


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

    def forward(self, x: Any, relu: bool = False) -> chainer.Variable:
        if cudnn.on_gpu(x):
            bias = getattr(self, "b", None)
            return cudnn.convolution(x, self.W, bias, self.stride, self.pad, self.groups, relu)
        arguments = (x, *(getattr(self, name) for name in ("W", "b") if hasattr(self, name)))
        if self.groups == 1:
            return self._apply(arguments, relu)
        parts = (
            F.split_axis(argument, self.groups, axis)
            for argument, axis in zip(arguments, (1, 0, 0))
        )
        return F.concat([self._apply(part, relu) for part in zip(*parts)], axis=1)

    def _apply(self, arguments: Tuple[Any, ...], relu: bool) -> chainer.Variable:
        return Convolution2DFunction(self.stride, self.pad, relu).apply(arguments)[0]
