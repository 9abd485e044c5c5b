"""``results/trail``: what each rank did at each step, by digests (TrailRecord)."""

from __future__ import annotations

from typing import Optional, Sequence

import chainer

from manifests.record.checkpoint import Prefix
from manifests.record.outcome import TrailRecord
from manifests.record.run_files import RunFiles
from trainer.digest import Digests, collect, samples_digest, start_digests, tensor_digests
from trainer.files import JsonLines
from trainer.initial import named_arrays, named_gradients
from trainer.order import StreamPosition


class Trail:
    """One per rank. ``interval`` is the number of steps between tensor digests of rank 0.

    A resumed run keeps the first ``keep`` bytes of what is there.
    """

    def __init__(
        self, files: RunFiles, rank: int, interval: int, last_step: int, keep: int = 0
    ) -> None:
        self._lines = JsonLines(files.trail_of(rank), keep)
        self._rank = rank
        self._interval = interval
        self._last_step = last_step

    def begin(self, model: chainer.Link) -> None:
        if self._rank == 0:
            self._write(TrailRecord(step=0, parameters=tensor_digests(named_arrays(model))))

    def gradients(self, step: int, model: chainer.Link) -> Optional[Digests]:
        """Digests of the reduced gradients, at the steps and the rank that keep them."""
        return start_digests(named_gradients(model)) if self._keeps_tensors(step) else None

    def step(
        self,
        step: int,
        epoch: float,
        slots: Sequence[StreamPosition],
        loss: float,
        gradients: Optional[Digests],
        model: chainer.Link,
    ) -> None:
        """``step`` counts from 1; call it after the update. ``gradients`` were taken before it."""
        tensors = {}
        if gradients is not None:
            digests = collect(gradients, start_digests(named_arrays(model)))
            tensors = dict(zip(("gradients", "parameters"), digests))
        self._write(
            TrailRecord(
                step=step,
                epoch=epoch,
                samples=samples_digest(slot.sample for slot in slots),
                loss=float(loss).hex(),
                **tensors,
            )
        )

    def settled(self) -> Prefix:
        """The records so far, on the disk."""
        return self._lines.settled()

    def close(self) -> None:
        self._lines.close()

    def _keeps_tensors(self, step: int) -> bool:
        return self._rank == 0 and (step % self._interval == 0 or step == self._last_step)

    def _write(self, record: TrailRecord) -> None:
        self._lines.append(record.model_dump(exclude_none=True))
