"""When a run is to write a checkpoint, and when to end before it is ended."""

from __future__ import annotations

import signal
import time
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from types import FrameType
from typing import Callable, Collection, Iterator, Mapping, Optional

from manifests.record.mounts import DEADLINE_VARIABLE
from manifests.record.schema import Checkpointing
from trainer.guard import WARNING_SIGNAL
from trainer.ranks import Ranks

#: Kept free before the deadline besides a step and two checkpoints: at most so many seconds, and
#: at most this part of the job's whole time. A busy file system, clocks that differ, mpirun's end.
MARGIN_SECONDS = 60.0
MARGIN_PART = 0.05

#: Bytes per second at which the first checkpoint is expected to be written: a slow shared disk.
SLOW_DISK = 50e6


class StopRequest(IntEnum):
    """What a rank wants after a step; ranks take the strongest request."""

    GO_ON = 0
    SAVE = 1
    STOP_FOR_WALLTIME = 2  # a checkpoint first
    STOP_FOR_SIGNAL = 3


class SignalFlag:
    """Whether the warning signal has come."""

    def __init__(self) -> None:
        self.warned = False

    def __call__(self, number: int, frame: Optional[FrameType]) -> None:
        self.warned = True


@contextmanager
def warning_signal() -> Iterator[SignalFlag]:
    """Take the warning signal from now on.

    Processes that are started within the block never see it, nor do their children: mpirun sends
    it to the rank's whole process group, and a loader would die of it.
    """
    warned = SignalFlag()
    signal.pthread_sigmask(signal.SIG_BLOCK, {WARNING_SIGNAL})
    signal.signal(WARNING_SIGNAL, warned)
    try:
        yield warned
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {WARNING_SIGNAL})


def no_more_warnings() -> None:
    """Ignore the signal: Python gives it its deadly default back before the process has ended."""
    signal.signal(WARNING_SIGNAL, signal.SIG_IGN)


def deadline_in(environment: Mapping[str, str]) -> Optional[float]:
    """Seconds since 1970; None where the job has no end that is known."""
    text = environment.get(DEADLINE_VARIABLE, "")
    return float(text) if text.isdecimal() else None


@dataclass
class Durations:
    """The longest of each so far, in seconds, or what is expected of the first."""

    step: float = 0.0
    evaluation: Optional[float] = None
    saving: float = 0.0

    #: A rank's validation batches, in training batches; bounds the first evaluation.
    validation_steps: float = 0.0

    def next_step(self, *, evaluates: bool) -> float:
        """No sample takes longer in validation than in training."""
        if not evaluates:
            return self.step
        if self.evaluation is None:
            return self.step * (1.0 + self.validation_steps)
        return self.step + self.evaluation


def reserve(spent: Durations, *, evaluates: bool, job_seconds: float) -> float:
    """Seconds that must be left to do one more step and then save.

    Twice the longest checkpoint, because file systems are slowest when many jobs end.
    """
    margin = min(MARGIN_SECONDS, MARGIN_PART * job_seconds)
    return spent.next_step(evaluates=evaluates) + 2 * spent.saving + margin


class Watch:
    """Asked after each step. Clocks are those of rank 0, signals those of any rank."""

    def __init__(
        self,
        ranks: Ranks,
        settings: Checkpointing,
        warned: SignalFlag,
        deadline: Optional[float],
        expected: Durations,
        clock: Callable[[], float] = time.time,
        archived: Collection[int] = (),
    ) -> None:
        """``archived`` are the steps after which a checkpoint is written in any case."""
        self.spent = expected
        self._archived = frozenset(archived)
        self._ranks = ranks
        self._settings = settings
        self._warned = warned
        self._deadline = deadline
        self._clock = clock
        self._begun = self._saved = clock()

    def saved(self, seconds: float) -> None:
        """A checkpoint was written, which took so long."""
        self._saved = self._clock()
        self.spent.saving = max(self.spent.saving, seconds)

    def ask(self, step: int, *, evaluates_next: bool) -> StopRequest:
        """What all ranks do after ``step`` (counted from 1); every rank must ask."""
        return StopRequest(self._ranks.greatest(self._own_wish(step, evaluates_next)))

    def _own_wish(self, step: int, evaluates_next: bool) -> StopRequest:
        if self._warned.warned:
            return StopRequest.STOP_FOR_SIGNAL
        if self._ranks.rank != 0:
            return StopRequest.GO_ON
        now = self._clock()
        if self._deadline is not None:
            job = self._deadline - self._begun
            needed = reserve(self.spent, evaluates=evaluates_next, job_seconds=job)
            if now + needed >= self._deadline:
                return StopRequest.STOP_FOR_WALLTIME
        interval = self._settings.interval
        due = step in self._archived or (interval is not None and step % interval == 0)
        if due or now - self._saved >= 60.0 * self._settings.minutes:
            return StopRequest.SAVE
        return StopRequest.GO_ON
