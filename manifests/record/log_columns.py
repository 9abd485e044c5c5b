"""The columns of ``results/log.jsonl``: Chainer's LogReport, and top-5 accuracy."""

from __future__ import annotations

EPOCH = "epoch"
ITERATION = "iteration"  # steps done
LOSS = "main/loss"  # mean over the samples since the row before
VALIDATION_LOSS = "validation/main/loss"
ACCURACY = "main/accuracy"  # top-1, from 0 to 1
VALIDATION_ACCURACY = "validation/main/accuracy"
RATE = "lr"
ELAPSED = "elapsed_time"  # seconds since the run began, earlier jobs included
SPEED = "images/s"
ACCURACY_TOP5 = "main/accuracy_top5"
VALIDATION_ACCURACY_TOP5 = "validation/main/accuracy_top5"

#: In the order of the table on standard output: Chainer's come first. Logs of version 1.0 lack the
#: last two.
COLUMNS = (
    EPOCH,
    ITERATION,
    LOSS,
    VALIDATION_LOSS,
    ACCURACY,
    VALIDATION_ACCURACY,
    RATE,
    ELAPSED,
    SPEED,
    ACCURACY_TOP5,
    VALIDATION_ACCURACY_TOP5,
)

#: How fast a run was: they differ between equal runs.
TIMINGS = (ELAPSED, SPEED)

#: Sums since the row before: they are those of other steps where rows do not fall together.
SINCE_LAST_ROW = (LOSS, ACCURACY, ACCURACY_TOP5)
