"""Digests of arrays and of batches, as they stand in the trail and in the result."""

from __future__ import annotations

import hashlib
from typing import Any, Iterable, Mapping

import numpy as np
import numpy.typing as npt


def tensor_digest(name: str, array: npt.NDArray[Any]) -> str:
    """First 32 hexadecimal digits (128 bits) of sha256 over name, dtype, shape and bytes.

    The head is ``<name>\\n<dtype.str>\\n<shape, comma separated>\\n``, the bytes are in C order.
    """
    contiguous = np.ascontiguousarray(array)
    shape = ",".join(map(str, array.shape))
    digest = hashlib.sha256(f"{name}\n{array.dtype.str}\n{shape}\n".encode())
    digest.update(contiguous.data)
    return digest.hexdigest()[:32]


def tensor_digests(arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, str]:
    return {name: tensor_digest(name, array) for name, array in arrays.items()}


def samples_digest(indices: Iterable[int]) -> str:
    """sha256 of the indices as little-endian int64."""
    return hashlib.sha256(np.array(list(indices), dtype="<i8").tobytes()).hexdigest()
