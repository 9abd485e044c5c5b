"""Curves of a run: the columns of ``results/log.jsonl`` over the epochs."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Dict, List

from container.trouble import Trouble
from manifests.record.json_numbers import number
from manifests.record.log_columns import (
    ACCURACY,
    ACCURACY_TOP5,
    COLUMNS,
    ELAPSED,
    ITERATION,
    LOSS,
    VALIDATION_ACCURACY,
    VALIDATION_ACCURACY_TOP5,
    VALIDATION_LOSS,
)
from manifests.record.run_files import RunFiles
from manifests.rundir.records import RESTORE, Warn, ignore, read_manifest

#: Title of a panel -> the columns of training and validation in it. Logs of versions before top-5
#: accuracy lack its columns.
PANELS = {
    "loss": (LOSS, VALIDATION_LOSS),
    "top-1 accuracy": (ACCURACY, VALIDATION_ACCURACY),
    "top-5 accuracy": (ACCURACY_TOP5, VALIDATION_ACCURACY_TOP5),
}

DRAWN = [name for pair in PANELS.values() for name in pair]


@dataclass(frozen=True)
class Curves:
    """``epochs`` are fractional, ``steps`` those after which a row was written; ``values`` has one
    number per row for each column of PANELS that the log has, and for its seconds.

    A number that is not finite is NaN.
    """

    files: RunFiles
    steps: List[int]
    epochs: List[float]
    values: Dict[str, List[float]]


def parse_log(data: bytes, where: str) -> List[Dict[str, Any]]:
    """The rows of a log; a last line that is not finished (a run under way) is left out.

    Raises Trouble for a line that is not a row: no object, or without its step or a number.
    """
    rows = []
    for place, line in enumerate(data.split(b"\n")[:-1], start=1):
        try:
            row = json.loads(line)
            steps = row[ITERATION]
            if type(steps) is not int or steps < 1:
                raise ValueError(ITERATION)
            rows.append({ITERATION: steps, **_numbers(row)})
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            raise Trouble(f"{where}, line {place}: is not a valid log row", RESTORE) from error
    return rows


def _numbers(row: Dict[str, Any]) -> Dict[str, float]:
    """Raises ValueError, TypeError or OverflowError where a column holds no number."""
    found = {}
    for name in DRAWN:
        if name in row:
            value = number(row[name])
            found[name] = value if math.isfinite(value) else math.nan
    with suppress(ValueError, TypeError, OverflowError, KeyError):  # no figure draws them
        if math.isfinite(seconds := number(row[ELAPSED])):
            found[ELAPSED] = seconds
    return found


def read_curves(files: RunFiles, warn: Warn = ignore) -> Curves:
    """Raises Trouble for a damaged manifest or log, and where no row was written yet."""
    identity = read_manifest(files, warn).identity
    try:
        rows = parse_log(files.log.read_bytes(), str(files.log))
    except FileNotFoundError:
        rows = []
    except OSError as error:
        raise Trouble(f"{files.log}: cannot be read: {error.strerror}", RESTORE) from error
    if not rows:
        raise Trouble(
            f"{files.root}: has no row in its log yet; one is written at the end of each epoch",
            f"see how far it is: python bundle.py status {files.root}",
        )
    per_step = identity.training.batchsize * identity.world.ranks
    return Curves(
        files,
        [row[ITERATION] for row in rows],
        [row[ITERATION] * per_step / identity.data.train.samples for row in rows],
        {
            name: [row.get(name, math.nan) for row in rows]
            for name in COLUMNS
            if any(name in row for row in rows)
        },
    )


def names_of(runs: List[RunFiles]) -> List[str]:
    """What to call each run in a figure: its directory's name, its path where names are equal."""
    names = [files.root.name for files in runs]
    if len(set(names)) < len(names):
        names = [str(files.root) for files in runs]
    return [name.encode("utf-8", "replace").decode("utf-8") for name in names]
