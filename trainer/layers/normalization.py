"""Batch normalisation of rows of channels (Ioffe, Szegedy 2015, arXiv:1502.03167, algorithm 1)."""

from __future__ import annotations

from typing import Any, Optional, Tuple

import numpy as np
import numpy.typing as npt

from trainer.layers.channels_last import channel_pieces, column_sums

Array = npt.NDArray[Any]

#: How much of the running statistics a step keeps, and what is added to variances: Chainer's
#: numbers, for the paper names none.
DECAY = 0.9
EPS = 2e-5


class Moments:
    """Mean and variance by column of all rows that were added.

    Mean and squared differences of each piece, put together in float64 by the update of Chan,
    Golub, LeVeque 1979 ("Updating formulae and a pairwise algorithm for computing sample
    variances", equation 2.1): nothing is lost when the mean is large.
    """

    def __init__(self, channels: int) -> None:
        self._count = 0
        self._mean = np.zeros(channels, dtype=np.float64)
        self._squares = np.zeros(channels, dtype=np.float64)

    def add(self, rows: Array) -> None:
        """(positions, C)"""
        for piece in channel_pieces(*rows.shape):
            some = rows[piece]
            own = column_sums(some) / some.dtype.type(len(some))
            differences = some - own
            differences *= differences
            change = own - self._mean
            total = self._count + len(some)
            self._squares += column_sums(differences)
            self._squares += change * change * (self._count * len(some) / total)
            self._mean += change * (len(some) / total)
            self._count = total

    def result(self, dtype: Any) -> Tuple[Array, Array]:
        """Mean and variance, both (C,); squares are divided by the number of rows."""
        return self._mean.astype(dtype), (self._squares / self._count).astype(dtype)


def as_line(mean: Array, var: Array, gamma: Array, beta: Array) -> Tuple[Array, Array]:
    """gamma * (x - mean) / sqrt(var + EPS) + beta as ``x * scale + offset``."""
    scale = gamma * inverse_of(var)
    return scale, beta - mean * scale


def inverse_of(var: Array) -> Array:
    inverse: Array = 1 / np.sqrt(var + var.dtype.type(EPS))
    return inverse


def apply_line(
    rows: Array,
    line: Tuple[Array, Array],
    shortcut: Optional[Array],
    relu: bool,
    out: Array,
) -> None:
    """out = rows * scale + offset, plus the shortcut, then ReLU; ``out`` may be ``rows``."""
    scale, offset = line
    for piece in channel_pieces(*rows.shape):
        target = out[piece]
        np.multiply(rows[piece], scale, out=target)
        target += offset
        if shortcut is not None:
            target += shortcut[piece]
        if relu:
            np.maximum(target, 0, out=target)


class Gradient:
    """Of a normalisation: first its parameters', which are sums over all rows, then that of rows.

    ``rows``, ``gy`` and, with a ReLU, its result ``y`` are (positions, C).
    """

    def __init__(
        self,
        rows: Array,
        statistics: Tuple[Array, Array],
        gamma: Array,
        gy: Array,
        y: Optional[Array],
    ) -> None:
        mean, var = statistics
        #: What passes the ReLU: the gradient of the sum with the shortcut, hence the shortcut's.
        self.passed = gy if y is None else np.empty_like(gy)
        g_beta, g_gamma = np.zeros((2, rows.shape[1]), dtype=np.float64)
        for piece in channel_pieces(*rows.shape):
            some = self.passed[piece]
            if y is not None:
                np.multiply(gy[piece], y[piece] > 0, out=some)
            g_beta += column_sums(some)
            centred = rows[piece] - mean
            centred *= some
            g_gamma += column_sums(centred)
        inverse = inverse_of(var)
        self.g_beta = g_beta.astype(rows.dtype)
        self.g_gamma = (g_gamma * inverse).astype(rows.dtype)
        # g_rows = scale * (passed - ((rows - mean) * inverse * g_gamma + g_beta) / count)
        share = rows.dtype.type(-1 / len(rows))
        self._scale = gamma * inverse
        self._slope = self._scale * inverse * self.g_gamma * share
        self._offset = self._scale * self.g_beta * share - self._slope * mean

    def of(self, rows: Array, passed: Array) -> Array:
        """That of some rows; ``passed`` are the same rows of the attribute."""
        gradient: Array = rows * self._slope
        gradient += self._offset
        gradient += passed * self._scale
        return gradient
