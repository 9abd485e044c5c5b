"""Two-dimensional convolution on the CPU, with bias and ReLU."""

from __future__ import annotations

from typing import Any, Optional, Tuple, Union

import chainer
import chainer.functions as F
import numpy as np
import numpy.typing as npt

from trainer.models import winograd
from trainer.models.channels_last import channels_last, channels_second
from trainer.models.rectified import sums_of_gradient
from trainer.models.unfolded import Unfolded
from trainer.models.winograd import Winograd

Array = npt.NDArray[Any]

#: With fewer channels, tiles cost more than they save.
WINOGRAD_CHANNELS = 32


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
        self._has_bias = bool(bias)
        y = self._method(weights).forward(
            channels_last(x), weights, bias[0] if bias else None, self.relu
        )
        if self.relu:
            self.retain_outputs((0,))
        return (channels_second(y),)

    def backward(
        self, indexes: Tuple[int, ...], grad_outputs: Tuple[chainer.Variable]
    ) -> Tuple[Optional[chainer.Variable], ...]:
        x, weights = (variable.array for variable in self.get_retained_inputs())
        gy = channels_last(grad_outputs[0].array)
        y = channels_last(self.get_retained_outputs()[0].array) if self.relu else None
        gy, g_bias = sums_of_gradient(gy, y, self._has_bias)
        gx, g_weights = self._method(weights).gradients(
            channels_last(x), weights, gy, needs_gx=0 in indexes
        )
        gradients = (None if gx is None else channels_second(gx), g_weights, g_bias)
        return tuple(chainer.as_variable(gradients[index]) for index in indexes)

    def _method(self, weights: Array) -> Union[Winograd, Unfolded]:
        channels, kernel = weights.shape[1:3]
        if (kernel, self.stride) == (winograd.KERNEL, 1) and channels >= WINOGRAD_CHANNELS:
            return Winograd(self.pad)
        return Unfolded(kernel, self.stride, self.pad)


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
