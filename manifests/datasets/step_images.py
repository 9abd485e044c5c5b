"""Which samples the steps of a run use: the trainer's order, checked against the run's own trail.

The order is that of docs/determinism.md, rule 2. It is computed a second time here, because the
host has no part of the trainer, and that of an old snapshot may have another order. So each batch
is held against the digest that the trail has of it: only an order that fits is used.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING, FrozenSet, List, Optional, Sequence, Set

from manifests.record.outcome import TrailRecord
from manifests.record.schema import Identity

if TYPE_CHECKING:
    import numpy as np

#: The trainer's purpose of the stream that orders an epoch.
_PERMUTATION = 1


@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, samples: int) -> np.ndarray:
    """Sample indices of an epoch in order, int64 (samples,)."""
    import numpy as np

    generator = np.random.Philox(
        key=np.array([seed, _PERMUTATION], dtype=np.uint64),
        counter=np.array([0, epoch, 0, 0], dtype=np.uint64),
    )
    words = np.asarray(generator.random_raw(samples), dtype=np.uint64)
    return np.argsort(words, kind="stable").astype("<i8")


def batch(identity: Identity, step: int, rank: int) -> np.ndarray:
    """Sample indices of one rank at ``step``, counted from 1; little-endian int64."""
    import numpy as np

    training, samples = identity.training, identity.data.train.samples
    size = training.batchsize
    first = (step - 1) * size * identity.world.ranks + rank * size
    parts: List[np.ndarray] = []
    while size:
        epoch, offset = divmod(first, samples)
        parts.append(_permutation(training.seed, epoch, samples)[offset : offset + size])
        first += len(parts[-1])
        size -= len(parts[-1])
    return np.concatenate(parts)


def samples_of_steps(
    identity: Identity, trail: Sequence[Sequence[TrailRecord]], begin: int, end: int
) -> Optional[FrozenSet[int]]:
    """Indices of the training samples that the steps after ``begin`` up to ``end`` use, by all
    ranks; None where the trail tells of another order than the one known here."""
    found: Set[int] = set()
    for rank, records in enumerate(trail):
        for record in records:
            if not begin < record.step <= end:
                continue
            indices = batch(identity, record.step, rank)
            if hashlib.sha256(indices.tobytes()).hexdigest() != record.samples:
                return None
            found.update(indices.tolist())
    return frozenset(found)
