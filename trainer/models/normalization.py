"""Batch normalisation on the CPU (Ioffe, Szegedy 2015, arXiv:1502.03167), with what often follows:
the sum with a shortcut, and ReLU.

Chainer's own makes a dozen arrays of the size of its input; here the work is done piece by piece
in the cache, and two are made in all.
"""

from __future__ import annotations

from typing import Any, Optional, Tuple

import chainer
import chainer.links as L
import numpy as np
import numpy.typing as npt

from trainer.models.channels_last import channels_last, channels_second, pieces
from trainer.models.rectified import column_sums, sums_of_gradient

Array = npt.NDArray[Any]

#: How much of the running statistics a step keeps, and what is added to variances: Chainer's
#: numbers, for the paper names none.
DECAY = 0.9
EPS = 2e-5


class NormalizationFunction(chainer.FunctionNode):  # type: ignore[misc]
    """y = gamma * (x - mean) / sqrt(var + EPS) + beta; then plus a shortcut; then ReLU.

    Arguments x, gamma, beta and, if there is one, the shortcut; x and the shortcut are (N, C, H, W)
    or (N, C). ``statistics`` are mean and variance to be used instead of the batch's; then there
    is no gradient. After the call ``mean`` and ``var`` hold what was used.
    """

    def __init__(self, relu: bool, statistics: Optional[Tuple[Array, Array]] = None) -> None:
        self.relu = relu
        self._statistics = statistics

    def forward_cpu(self, inputs: Tuple[Array, ...]) -> Tuple[Array]:
        x, gamma, beta, *shortcut = inputs
        self.retain_inputs((0, 1))
        rows = as_rows(x)
        self.mean, self.var = self._statistics or mean_and_variance(rows)
        self._inverse = 1 / np.sqrt(self.var + x.dtype.type(EPS))
        scale = gamma * self._inverse
        offset = beta - self.mean * scale
        added = [as_rows(each) for each in shortcut]
        y = np.empty_like(rows)
        for piece in pieces(*rows.shape):
            target = y[piece]
            np.multiply(rows[piece], scale, out=target)
            target += offset
            for each in added:
                target += each[piece]
            if self.relu:
                np.maximum(target, 0, out=target)
        if self.relu:
            self.retain_outputs((0,))
        return (like(y, x),)

    def backward(
        self, indexes: Tuple[int, ...], grad_outputs: Tuple[chainer.Variable]
    ) -> Tuple[chainer.Variable, ...]:
        assert self._statistics is None, "evaluation has no gradient"
        x, gamma = (variable.array for variable in self.get_retained_inputs())
        y = as_rows(self.get_retained_outputs()[0].array) if self.relu else None
        passed, g_beta = sums_of_gradient(as_rows(grad_outputs[0].array), y, wants_sum=True)
        rows = as_rows(x)
        g_gamma = self._inverse * self._products(rows, passed)
        # gx = scale * (gy - (x - mean) * inverse * g_gamma / count - g_beta / count)
        scale = gamma * self._inverse
        slope = scale * self._inverse * g_gamma * x.dtype.type(-1 / len(rows))
        offset = scale * g_beta * x.dtype.type(-1 / len(rows)) - slope * self.mean
        gx = np.empty_like(rows)
        for piece in pieces(*rows.shape):
            target = gx[piece]
            np.multiply(rows[piece], slope, out=target)
            target += passed[piece] * scale
            target += offset
        gradients = (like(gx, x), g_gamma, g_beta, like(passed, x))
        return tuple(chainer.as_variable(gradients[index]) for index in indexes)

    def _products(self, rows: Array, passed: Array) -> Array:
        """Sums over the rows of (x - mean) * gradient, (C,)"""
        total = np.zeros(rows.shape[1], dtype=np.float64)
        for piece in pieces(*rows.shape):
            total += np.einsum("nc,nc->c", rows[piece] - self.mean, passed[piece])
        return total.astype(rows.dtype)


def as_rows(x: Array) -> Array:
    """(N, C, H, W) or (N, C) -> (positions, C), contiguous"""
    return np.ascontiguousarray(x) if x.ndim == 2 else channels_last(x).reshape(-1, x.shape[1])


def like(rows: Array, x: Array) -> Array:
    """(positions, C) -> the shape of ``x``"""
    if x.ndim == 2:
        return rows
    samples, channels, height, width = x.shape
    return channels_second(rows.reshape(samples, height, width, channels))


def mean_and_variance(rows: Array) -> Tuple[Array, Array]:
    """Of each column of (positions, C), the variance by 1 / positions.

    Mean and squared differences of each piece, put together in float64 by the update of Chan,
    Golub, LeVeque 1979 ("Updating formulae and a pairwise algorithm for computing sample
    variances", equation 2.1): nothing is lost when the mean is large.
    """
    count = 0
    mean = np.zeros(rows.shape[1], dtype=np.float64)
    squares = np.zeros_like(mean)
    for piece in pieces(*rows.shape):
        some = rows[piece]
        own = column_sums(some) / some.dtype.type(len(some))
        differences = some - own
        change = own - mean
        total = count + len(some)
        squares += np.einsum("nc,nc->c", differences, differences)
        squares += change * change * (count * len(some) / total)
        mean += change * (len(some) / total)
        count = total
    return mean.astype(rows.dtype), (squares / count).astype(rows.dtype)


class Normalization(L.BatchNormalization):  # type: ignore[misc]
    """Chainer's link with the function above.

    In training the batch's statistics are used and the running ones follow; in evaluation these
    are used (trainer.statistics).
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, decay=DECAY, eps=EPS)

    def forward(
        self, x: Any, relu: bool = False, shortcut: Optional[chainer.Variable] = None
    ) -> chainer.Variable:
        arguments = (x, self.gamma, self.beta, *(() if shortcut is None else (shortcut,)))
        if not chainer.config.train:
            function = NormalizationFunction(relu, (self.avg_mean, self.avg_var))
            return function.apply(arguments)[0]
        function = NormalizationFunction(relu)
        y = function.apply(arguments)[0]
        count = x.size // len(self.avg_mean)
        kept, new = np.float32(DECAY), np.float32(1 - DECAY)
        self.avg_mean *= kept
        self.avg_mean += new * function.mean
        self.avg_var *= kept
        # Of the population, not of the batch.
        self.avg_var += new * np.float32(count / max(count - 1, 1)) * function.var
        return y
