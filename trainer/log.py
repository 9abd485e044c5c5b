"""``results/log.jsonl`` and the table on standard output, in the columns of Chainer's LogReport."""

from __future__ import annotations

import time
from typing import Callable, Dict, Optional, TextIO

from trainer.files import JsonLines
from trainer.world import World

Row = Dict[str, float]

COLUMNS = (
    "epoch",
    "iteration",
    "main/loss",
    "validation/main/loss",
    "main/accuracy",
    "validation/main/accuracy",
    "lr",
    "elapsed_time",
    "images/s",
)


class Log:
    """Collects each rank's losses between rows; only rank 0 has ``lines`` and ``out``."""

    def __init__(
        self,
        world: World,
        lines: Optional[JsonLines],
        out: Optional[TextIO],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._world = world
        self._lines = lines
        self._out = out
        self._clock = clock
        self._start = clock()
        self._training = 0.0
        self._loss = 0.0
        self._correct = 0
        self._samples = 0
        if out is not None:
            print("  ".join(COLUMNS), file=out, flush=True)

    def add(self, loss: float, correct: int, samples: int, seconds: float) -> None:
        """A step of this rank: its mean loss, correct answers, samples, and how long it took."""
        self._loss += float(loss) * samples
        self._correct += correct
        self._samples += samples
        self._training += seconds

    def row(self, epoch: int, iteration: int, lr: float, validation: Row) -> Row:
        """Sum over the ranks, write, and begin anew; every rank calls it at the same step."""
        loss, correct = self._world.sum(self._loss), self._world.sum(self._correct)
        samples = self._world.sum(self._samples)
        row: Row = {
            "epoch": epoch,
            "iteration": iteration,
            "main/loss": loss / samples,
            "validation/main/loss": validation["loss"],
            "main/accuracy": correct / samples,
            "validation/main/accuracy": validation["accuracy"],
            "lr": lr,
            "elapsed_time": self._clock() - self._start,
            "images/s": samples / self._training if self._training else 0.0,
        }
        self._loss, self._correct, self._samples, self._training = 0.0, 0, 0, 0.0
        if self._lines is not None:
            self._lines.append(row)
        if self._out is not None:
            print(table_line(row), file=self._out, flush=True)
        return row


def table_line(row: Row) -> str:
    """The row under the heads of COLUMNS."""
    return "  ".join(f"{row[name]:<{len(name)}.6g}" for name in COLUMNS).rstrip()
