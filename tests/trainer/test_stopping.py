"""When a run saves and when it ends: warning signal, deadline, minutes, steps."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any, Optional

import pytest

from manifests.record.schema import Checkpointing
from trainer.stopping import (
    Durations,
    SignalFlag,
    StopRequest,
    Watch,
    deadline_in,
    reserve,
    warning_signal,
)


class Alone:
    def __init__(self, rank: int = 0, others: int = 0) -> None:
        self.rank = rank
        self._others = others

    def greatest(self, value: int) -> int:
        return max(value, self._others)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def make(
    clock: Clock,
    world: Any = None,
    deadline: Optional[float] = None,
    warned: Optional[SignalFlag] = None,
    **settings: Any,
) -> Watch:
    expected = Durations(saving=1.0, validation_steps=2.0)
    world = world or Alone()
    return Watch(
        world, Checkpointing(**settings), warned or SignalFlag(), deadline, expected, clock
    )


def test_after_so_many_minutes_since_the_last() -> None:
    clock = Clock()
    watch = make(clock, minutes=2)
    clock.now += 119
    assert watch.ask(1, evaluates_next=False) is StopRequest.GO_ON
    clock.now += 1
    assert watch.ask(2, evaluates_next=False) is StopRequest.SAVE
    watch.saved(3.0)
    clock.now += 119
    assert watch.ask(3, evaluates_next=False) is StopRequest.GO_ON
    clock.now += 1
    assert watch.ask(4, evaluates_next=False) is StopRequest.SAVE
    assert watch.spent.saving == 3.0


def test_after_every_so_many_steps() -> None:
    watch = make(Clock(), interval=3)
    wishes = [watch.ask(step, evaluates_next=False) for step in range(1, 8)]
    assert [step for step, wish in enumerate(wishes, 1) if wish is StopRequest.SAVE] == [3, 6]


def test_a_warned_rank_stops_all() -> None:
    warned = SignalFlag()
    warned(signal.SIGUSR2, None)
    assert make(Clock(), Alone(rank=5), warned=warned).ask(1, evaluates_next=False) is (
        StopRequest.STOP_FOR_SIGNAL
    )
    others = Alone(rank=0, others=StopRequest.STOP_FOR_SIGNAL)
    assert (
        make(Clock(), others, interval=1).ask(1, evaluates_next=False)
        is StopRequest.STOP_FOR_SIGNAL
    )


def test_only_the_clock_of_rank_0_counts() -> None:
    clock = Clock()
    watch = make(clock, Alone(rank=1), deadline=1001.0, minutes=1, interval=1)
    clock.now += 100000
    assert watch.ask(1, evaluates_next=True) is StopRequest.GO_ON


@pytest.mark.parametrize(
    ("left", "evaluates", "wish"),
    [
        (37.1, False, StopRequest.GO_ON),
        (37.0, False, StopRequest.STOP_FOR_WALLTIME),
        (57.1, True, StopRequest.GO_ON),
        (57.0, True, StopRequest.STOP_FOR_WALLTIME),
    ],
)
def test_before_the_deadline(left: float, evaluates: bool, wish: StopRequest) -> None:
    """A job of 500 s: a step 10 s, a checkpoint 1 s or twice that, margin 25 s; the first
    evaluation is as long as two steps."""
    clock = Clock()
    watch = make(clock, deadline=1500.0)
    watch.spent.step = 10.0
    clock.now = 1500.0 - left
    assert watch.ask(1, evaluates_next=evaluates) is wish


def test_reserve() -> None:
    spent = Durations(step=4.0, evaluation=30.0, saving=7.0)
    assert reserve(spent, evaluates=False, job_seconds=100) == 4 + 14 + 5
    assert reserve(spent, evaluates=True, job_seconds=100) == 34 + 14 + 5
    assert reserve(spent, evaluates=False, job_seconds=86400) == 4 + 14 + 60


def test_deadline_in_the_environment() -> None:
    assert deadline_in({"BUNDLE_DEADLINE": "1790000000"}) == 1790000000.0
    assert deadline_in({}) is None
    assert deadline_in({"BUNDLE_DEADLINE": ""}) is None


def test_a_warning_within_the_block_comes_after_it() -> None:
    before = signal.getsignal(signal.SIGUSR2)
    try:
        with warning_signal() as warned:
            os.kill(os.getpid(), signal.SIGUSR2)
            # A child that is started here does not die of the signal.
            child = subprocess.run(
                [sys.executable, "-c", "import os; os.kill(os.getpid(), 12); print('alive')"],
                capture_output=True,
                text=True,
                check=False,
            )
        assert warned.warned
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert (child.returncode, child.stdout) == (0, "alive\n")
