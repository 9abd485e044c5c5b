"""Running statistics of batch normalisation: each rank's own in training, averaged when used."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, Sequence

import chainer
import chainer.links as L
import numpy as np
import numpy.typing as npt

from trainer.ranks import Ranks

Array = npt.NDArray[Any]

#: Of a link, in this order.
KEYS = ("avg_mean", "avg_var")


def named_statistics(model: chainer.Link) -> Dict[str, Array]:
    """The arrays that the model has now, ``/…/avg_mean`` and ``/…/avg_var``, by name."""
    return {f"{name}/{key}": getattr(link, key) for name, link in _links(model) for key in KEYS}


def _links(model: chainer.Link) -> List[Any]:
    return [
        (name, link)
        for name, link in sorted(model.namedlinks())
        if isinstance(link, L.BatchNormalization)
    ]


class RankStatistics:
    """The statistics of each rank that this process computes; the model has one rank's at a time.

    Arrays are handed over, not copied. All ranks begin with what the model has.
    """

    def __init__(self, model: chainer.Link, ranks: Ranks) -> None:
        self._links = [link for _, link in _links(model)]
        self._names = list(named_statistics(model))
        self._ranks = ranks
        first = self._bound()
        self._own: Dict[int, List[Array]] = {
            rank: first if rank == ranks.rank else [array.copy() for array in first]
            for rank in ranks.hosted
        }

    def named(self, rank: int) -> Dict[str, Array]:
        """The arrays of a rank of this process, by name."""
        return dict(zip(self._names, self._own[rank]))

    @property
    def names(self) -> List[str]:
        return list(self._names)

    @contextmanager
    def of(self, rank: int) -> Iterator[None]:
        """Within, the model has those of this rank, and training moves them."""
        self._bind(self._own[rank])
        yield
        self._own[rank] = self._bound()

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Within, the model has the mean of all ranks. Every process must call it.

        So it does not matter for the bits how often a run evaluates.
        """
        self.bind_mean()
        yield
        self._bind(self._own[self._ranks.rank])

    def bind_mean(self) -> None:
        """Give the model the mean of all ranks' statistics; every process must call it."""
        if not self._names:
            return
        arrays = self._own[self._ranks.rank]
        joined = self._mean_of_all()
        ends = np.cumsum([len(array) for array in arrays])
        # In memory of their own: each rank's stay as they are.
        self._bind(
            [
                chainer.backend.get_array_module(array).asarray(mean)
                for array, mean in zip(arrays, np.split(joined, ends[:-1]))
            ]
        )

    def _mean_of_all(self) -> npt.NDArray[np.float32]:
        """Added in rank order in float64: the same bits on every process.

        One rank of each process at a time, which is rank order: no process holds all ranks' at
        once.
        """
        total = np.zeros(sum(len(array) for array in self._own[self._ranks.rank]), np.float64)
        rounds = -(-self._ranks.size // self._ranks.processes)
        for rank in range(self._ranks.rank, rounds * self._ranks.processes, self._ranks.processes):
            # MPI is given host memory only.
            own = (
                np.concatenate([chainer.backends.cuda.to_cpu(array) for array in self._own[rank]])
                if rank in self._own
                else None
            )
            for part in self._ranks.gather(own):
                if part is not None:
                    total += part
        mean: npt.NDArray[np.float32] = (total / self._ranks.size).astype(np.float32)
        return mean

    def _bound(self) -> List[Array]:
        return [getattr(link, key) for link in self._links for key in KEYS]

    def _bind(self, arrays: Sequence[Array]) -> None:
        places = [(link, key) for link in self._links for key in KEYS]
        for (link, key), array in zip(places, arrays):
            setattr(link, key, array)
