"""A convolution, batch normalisation, the sum with a shortcut and ReLU in one.

Chainer's functions one after another make a dozen arrays of the size of the output in a step;
here three are made, and the rest is done to parts in the cache.
"""

from __future__ import annotations

from typing import Any, Optional, Tuple

import chainer
import chainer.links as L
import numpy as np
import numpy.typing as npt

from trainer.layers import cudnn
from trainer.layers.channels_last import Band, channels_last, channels_second
from trainer.layers.convolution import Convolution2D, method_for
from trainer.layers.normalization import DECAY, EPS, Gradient, Moments, apply_line, as_line

Array = npt.NDArray[Any]


class NormalizedConvolutionFunction(chainer.FunctionNode):  # type: ignore[misc]
    """Arguments x, W, gamma, beta and, if there is one, the shortcut.

    After the call ``statistics`` are mean and variance of the convolution's results by channel,
    (O,) each. Given ones are used instead; then there is no gradient.
    """

    def __init__(
        self, stride: int, pad: int, relu: bool, given: Optional[Tuple[Array, Array]]
    ) -> None:
        self.stride = stride
        self.pad = pad
        self.relu = relu
        self._given = given

    def forward_cpu(self, inputs: Tuple[Array, ...]) -> Tuple[Array]:
        x, weights, gamma, beta, *shortcut = inputs
        added = channels_last(shortcut[0]) if shortcut else None
        method = method_for(weights, self.stride, self.pad)
        if self._given is not None:
            line = as_line(*self._given, gamma, beta)

            def finish(band: Band, y: Array) -> None:
                also = None if added is None else as_rows(added[band])
                apply_line(as_rows(y), line, also, self.relu, out=as_rows(y))

            return (channels_second(method.forward(channels_last(x), weights, finish)),)

        moments = Moments(len(weights))
        convolved = method.forward(
            channels_last(x), weights, lambda band, y: moments.add(as_rows(y))
        )
        self.statistics = moments.result(x.dtype)
        y = np.empty_like(convolved)
        line = as_line(*self.statistics, gamma, beta)
        also = None if added is None else as_rows(added)
        apply_line(as_rows(convolved), line, also, self.relu, out=as_rows(y))
        self._convolved = convolved
        self.retain_inputs((0, 1, 2))
        if self.relu:
            self.retain_outputs((0,))
        return (channels_second(y),)

    def backward(
        self, indexes: Tuple[int, ...], grad_outputs: Tuple[chainer.Variable]
    ) -> Tuple[chainer.Variable, ...]:
        assert self._given is None, "evaluation has no gradient"
        x, weights, gamma = (variable.array for variable in self.get_retained_inputs())
        convolved = self._convolved
        gy = channels_last(grad_outputs[0].array)
        y = channels_last(self.get_retained_outputs()[0].array) if self.relu else None
        gradient = Gradient(
            as_rows(convolved),
            self.statistics,
            gamma,
            as_rows(gy),
            None if y is None else as_rows(y),
        )
        passed = gradient.passed.reshape(gy.shape)

        def of(band: Band) -> Array:
            some = convolved[band]
            return gradient.of(as_rows(some), as_rows(passed[band])).reshape(some.shape)

        method = method_for(weights, self.stride, self.pad)
        gx, g_weights = method.gradients(channels_last(x), weights, of, 0 in indexes)
        gradients = (
            None if gx is None else channels_second(gx),
            g_weights,
            gradient.g_gamma,
            gradient.g_beta,
            channels_second(passed),
        )
        return tuple(chainer.as_variable(gradients[index]) for index in indexes)


def as_rows(x: Array) -> Array:
    """(N, H, W, C) -> (positions, C); of a whole array or of a band, so a view."""
    return x.reshape(-1, x.shape[3])


class NormalizedConvolution(chainer.Chain):  # type: ignore[misc]
    """No biases before the normalisation: it takes them away again (Ioffe, Szegedy 2015,
    arXiv:1502.03167, section 3.2).

    In training it normalises by the batch of this rank, and the running statistics follow; in
    evaluation it normalises by them (trainer.statistics). ``norm`` holds them and the parameters.
    """

    def __init__(
        self, channels: int, outputs: int, kernel: int, stride: int = 1, pad: int = 0
    ) -> None:
        super().__init__()
        with self.init_scope():
            self.conv = Convolution2D(channels, outputs, kernel, stride, pad, bias=None)
            self.norm = L.BatchNormalization(outputs, decay=DECAY, eps=EPS)

    def forward(
        self, x: Any, relu: bool = False, shortcut: Optional[chainer.Variable] = None
    ) -> chainer.Variable:
        """The shortcut is added to what was normalised."""
        conv, norm = self.conv, self.norm
        if cudnn.on_gpu(x):
            convolved = cudnn.convolution(x, conv.W, None, conv.stride, conv.pad)
            return cudnn.normalized(norm, convolved, relu, shortcut)
        arguments = (x, conv.W, norm.gamma, norm.beta, *(() if shortcut is None else (shortcut,)))
        given = None if chainer.config.train else (norm.avg_mean, norm.avg_var)
        function = NormalizedConvolutionFunction(conv.stride, conv.pad, relu, given)
        y = function.apply(arguments)[0]
        if chainer.config.train:
            self._follow(*function.statistics, y.size // len(norm.avg_mean))
        return y

    def _follow(self, mean: Array, var: Array, count: int) -> None:
        """Move the running statistics by those of ``count`` values, as Chainer's link does."""
        norm = self.norm
        norm.avg_mean *= DECAY
        norm.avg_mean += (1 - DECAY) * mean
        norm.avg_var *= DECAY
        # The variance of what the batch was drawn from is a little larger than the batch's own.
        norm.avg_var += (1 - DECAY) * (count / max(count - 1, 1)) * var
