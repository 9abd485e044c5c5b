"""Digests of arrays and of batches, as they stand in the trail and in the result."""

from __future__ import annotations

import hashlib
from typing import Any, Dict, Iterable, List, Mapping, Union

import numpy as np
import numpy.typing as npt

from trainer.gpu.block_digest import PendingDigests, digest_head

#: Those of arrays in host memory are there at once.
Digests = Union[Dict[str, str], PendingDigests]


def tensor_digest(name: str, array: npt.NDArray[Any]) -> str:
    """First 32 hexadecimal digits (128 bits) of sha256 over name, dtype, shape and bytes.

    The head is ``<name>\\n<dtype.str>\\n<shape, comma separated>\\n``, the bytes are in C order.
    For arrays in a GPU's memory see :mod:`trainer.gpu.block_digest`.
    """
    digest = hashlib.sha256(digest_head(name, array))
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:32]


def tensor_digests(arrays: Mapping[str, Any]) -> Dict[str, str]:
    return collect(start_digests(arrays))[0]


def start_digests(arrays: Mapping[str, Any]) -> Digests:
    """Digests of the arrays as they are now; all lie in host memory or all on a GPU."""
    if all(isinstance(array, np.ndarray) for array in arrays.values()):
        return {name: tensor_digest(name, array) for name, array in arrays.items()}
    return PendingDigests(arrays)


def collect(*digests: Digests) -> List[Dict[str, str]]:
    """Each one's digests by tensor; from a GPU all in one copy."""
    ready = [each for each in digests if not isinstance(each, PendingDigests)]
    if len(ready) == len(digests):
        return ready
    assert not ready, "digests of host and GPU in one record"
    return PendingDigests.collect([each for each in digests if isinstance(each, PendingDigests)])


def samples_digest(indices: Iterable[int]) -> str:
    """sha256 of the indices as little-endian int64."""
    return hashlib.sha256(np.array(list(indices), dtype="<i8").tobytes()).hexdigest()
