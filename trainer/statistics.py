"""Running statistics of batch normalisation: each rank's own in training, averaged when used."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Iterator, Sequence

import chainer
import chainer.links as L
import numpy as np
import numpy.typing as npt

from trainer.ranks import Ranks

Array = npt.NDArray[Any]


def named_statistics(model: chainer.Link) -> dict[str, Array]:
    """The arrays themselves, ``/…/avg_mean`` and ``/…/avg_var``, by name."""
    return {
        f"{name}/{key}": getattr(link, key)
        for name, link in sorted(model.namedlinks())
        if isinstance(link, L.BatchNormalization)
        for key in ("avg_mean", "avg_var")
    }


def mean_of(everyones: Sequence[Array]) -> npt.NDArray[np.float32]:
    """The mean over the ranks, added in rank order in float64: the same bits on every rank."""
    total = np.zeros(everyones[0].shape, dtype=np.float64)
    for part in everyones:
        total += part
    return (total / len(everyones)).astype(np.float32)


def average_statistics(model: chainer.Link, ranks: Ranks) -> None:
    """Give every rank the mean of all ranks' statistics; all ranks must call it."""
    arrays = list(named_statistics(model).values())
    if not arrays:
        return
    # MPI is given host memory only.
    own = np.concatenate([chainer.backends.cuda.to_cpu(array) for array in arrays])
    joined = mean_of(ranks.gather(own))
    ends = np.cumsum([len(array) for array in arrays])
    for array, mean in zip(arrays, np.split(joined, ends[:-1])):
        array[...] = chainer.backend.get_array_module(array).asarray(mean)


@contextmanager
def averaged(model: chainer.Link, ranks: Ranks) -> Iterator[None]:
    """Within, every rank has the mean of all; then each has its own again.

    So it does not matter for the bits how often a run evaluates.
    """
    arrays = named_statistics(model).values()
    own = [array.copy() for array in arrays]
    average_statistics(model, ranks)
    yield
    for array, kept in zip(arrays, own):
        array[...] = kept
