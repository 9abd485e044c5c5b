"""``results/log.jsonl`` and the table on standard output: Chainer's LogReport, top-5 accuracy."""

from __future__ import annotations

import time
from typing import Callable, Dict, Iterable, List, NamedTuple, Optional, Sequence, TextIO

from manifests.record.checkpoint import Prefix, Sums
from manifests.record.json_numbers import not_finite_text
from manifests.record.log_columns import (
    ACCURACY,
    ACCURACY_TOP5,
    ELAPSED,
    EPOCH,
    ITERATION,
    LOSS,
    RATE,
    SPEED,
    VALIDATION_ACCURACY,
    VALIDATION_ACCURACY_TOP5,
    VALIDATION_LOSS,
)
from trainer.evaluation import Correct
from trainer.files import JsonLines
from trainer.ranks import Ranks

Row = Dict[str, float]

NOTHING = Sums(loss=0.0, correct=0, correct_top5=0, samples=0, seconds=0.0)


class Log:
    """Collects the losses of this process's ranks between rows; only the process of rank 0 has
    ``lines`` and ``out``.

    A resumed run goes on from ``sums`` of its checkpoint, one for each rank of this process, and
    the seconds ``elapsed`` until then.
    """

    def __init__(
        self,
        ranks: Ranks,
        lines: Optional[JsonLines],
        out: Optional[TextIO],
        clock: Callable[[], float] = time.monotonic,
        *,
        sums: Optional[Sequence[Sums]] = None,
        elapsed: float = 0.0,
    ) -> None:
        self._ranks = ranks
        self._lines = lines
        self._out = out
        self._clock = clock
        self._start = clock() - elapsed
        self._begin([NOTHING] * len(ranks.hosted) if sums is None else sums)
        if out is not None:
            print(head_line(), file=out, flush=True)

    def _begin(self, sums: Sequence[Sums]) -> None:
        self._sums = list(sums)

    @property
    def elapsed(self) -> float:
        """Seconds since the run began, those of earlier jobs included."""
        return self._clock() - self._start

    def sums(self) -> List[Sums]:
        """What each rank of this process has added up since the last row."""
        return list(self._sums)

    def settled(self) -> Optional[Prefix]:
        """The rows so far, on the disk; None on ranks that write none."""
        return None if self._lines is None else self._lines.settled()

    def add(
        self, loss: float, correct: Correct, samples: int, seconds: float, number: int = 0
    ) -> None:
        """A step of the ``number``-th rank of this process: its mean loss, correct answers and
        samples, and how long the step of all ranks took."""
        before = self._sums[number]
        self._sums[number] = Sums(
            loss=before.loss + float(loss) * samples,
            correct=before.correct + correct.top1,
            correct_top5=before.correct_top5 + correct.top5,
            samples=before.samples + samples,
            seconds=before.seconds + seconds,
        )

    def forget(self) -> None:
        """Begin anew where a row would be written, without one."""
        self._begin([NOTHING] * len(self._sums))

    def row(self, epoch: int, iteration: int, lr: float, validation: Row) -> Row:
        """Sum over the ranks, write, and begin anew; every process calls it at the same step."""
        own = self._sums
        loss = self._ranks.sum([rank.loss for rank in own])
        samples = self._ranks.sum([rank.samples for rank in own])
        top1 = self._ranks.sum([rank.correct for rank in own])
        top5 = self._ranks.sum([rank.correct_top5 for rank in own])
        training = own[0].seconds
        row: Row = {
            EPOCH: epoch,
            ITERATION: iteration,
            LOSS: loss / samples,
            VALIDATION_LOSS: validation["loss"],
            ACCURACY: top1 / samples,
            VALIDATION_ACCURACY: validation["accuracy"],
            RATE: lr,
            ELAPSED: self.elapsed,
            SPEED: samples / training if training else 0.0,
            ACCURACY_TOP5: top5 / samples,
            VALIDATION_ACCURACY_TOP5: validation["accuracy_top5"],
        }
        self._begin([NOTHING] * len(own))
        if self._lines is not None:
            self._lines.append(row)
        if self._out is not None:
            print("\n".join([table_line(row), *odd_lines(row)]), file=self._out, flush=True)
        return row


def odd_lines(row: Row) -> List[str]:
    """What is said below a row that has numbers that are not finite."""
    odd = not_finite_text(row)
    return [f"warning: after step {row['iteration']}: {odd}"] if odd else []


def head_line() -> str:
    """``val`` is the validation set's value of the column before it."""
    return in_columns(column.head for column in TABLE)


def table_line(row: Row) -> str:
    """The row under the heads: accuracy in %, the time since the run began."""
    return in_columns(column.text(row[column.name]) for column in TABLE)


def in_columns(cells: Iterable[str]) -> str:
    """Right-aligned, 80 letters in all; a longer number moves its row."""
    return " ".join(cell.rjust(column.width) for cell, column in zip(cells, TABLE))


def fixed(value: float) -> str:
    return f"{value:.4f}" if abs(value) < 1000 else f"{value:.3g}"


def rate(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"


def percent(value: float) -> str:
    return f"{100 * value:.2f}"


def span(seconds: float) -> str:
    """As in 45s, 2m03s, 1h02m, 3d04h."""
    whole = round(seconds)
    for unit, smaller, size, part in UNITS:
        if whole >= size:
            return f"{whole // size}{unit}{whole % size // part:02}{smaller}"
    return f"{whole}s"


#: (unit, the next smaller one, seconds of each)
UNITS = (("d", "h", 86400, 3600), ("h", "m", 3600, 60), ("m", "s", 60, 1))


class Column(NamedTuple):
    name: str  # of the log
    head: str
    width: int
    text: Callable[[float], str]


#: With a blank between them 80 letters.
TABLE = (
    Column(EPOCH, "epoch", 5, "{:d}".format),
    Column(ITERATION, "step", 7, "{:d}".format),
    Column(LOSS, "loss", 7, fixed),
    Column(VALIDATION_LOSS, "val", 7, fixed),
    Column(ACCURACY, "top-1%", 6, percent),
    Column(VALIDATION_ACCURACY, "val", 6, percent),
    Column(ACCURACY_TOP5, "top-5%", 6, percent),
    Column(VALIDATION_ACCURACY_TOP5, "val", 6, percent),
    Column(RATE, "lr", 8, "{:.3g}".format),
    Column(SPEED, "img/s", 6, rate),
    Column(ELAPSED, "time", 6, span),
)
