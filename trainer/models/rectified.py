"""The gradient that passes a ReLU, and its sum over all positions."""

from __future__ import annotations

from typing import Any, Optional, Tuple

import numpy as np
import numpy.typing as npt

from trainer.models.channels_last import pieces

Array = npt.NDArray[Any]


def sums_of_gradient(
    gy: Array, y: Optional[Array], wants_sum: bool
) -> Tuple[Array, Optional[Array]]:
    """gy where the ReLU's result ``y`` (of the same shape) is positive, and its sums by channel.

    Without ``y`` there is no ReLU. (…, C) -> (…, C) and (C,).
    """
    channels = gy.shape[-1]
    flat = gy.reshape(-1, channels)
    results = None if y is None else y.reshape(-1, channels)
    passed = flat if results is None else np.empty_like(flat)
    total = np.zeros(channels, dtype=np.float64)
    for piece in pieces(len(flat), channels):
        if results is not None:
            np.multiply(flat[piece], results[piece] > 0, out=passed[piece])
        if wants_sum:
            total += column_sums(passed[piece])
    return passed.reshape(gy.shape), total.astype(gy.dtype) if wants_sum else None


def column_sums(rows: Array) -> Array:
    """(n, C) -> (C,), by a matrix product: many times faster than ``sum``."""
    sums: Array = np.ones(len(rows), dtype=rows.dtype) @ rows
    return sums
