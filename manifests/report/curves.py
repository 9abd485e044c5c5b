"""Curves of a run: the columns of ``results/log.jsonl`` over the epochs."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Dict, List

from container.shell_word import shell_word
from container.trouble import Trouble
from manifests.record.checkpoint import Damaged, read_head
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
from manifests.record.schema import Manifest
from manifests.rundir.present_states import present_states
from manifests.rundir.records import RESTORE, Warn, ignore, read_manifest, read_result

#: Title of a panel -> the columns of training and validation in it. Logs of versions before top-5
#: accuracy lack its columns.
LOSS_TITLE, TOP5 = "loss", "top-5 accuracy"
PANELS = {
    LOSS_TITLE: (LOSS, VALIDATION_LOSS),
    "top-1 accuracy": (ACCURACY, VALIDATION_ACCURACY),
    TOP5: (ACCURACY_TOP5, VALIDATION_ACCURACY_TOP5),
}

DRAWN = [name for pair in PANELS.values() for name in pair]


@dataclass(frozen=True)
class Curves:
    """``epochs`` are fractional, ``steps`` those after which a row was written; ``values`` has one
    number per row for each column of PANELS, and for the seconds, of which some is known. A number
    that is not finite is NaN. ``resumed`` are the epochs at which another job took the run over.
    """

    files: RunFiles
    manifest: Manifest
    steps: List[int]
    epochs: List[float]
    values: Dict[str, List[float]]
    resumed: List[float] = field(default_factory=list)


class NoRow(Trouble):
    """The run has written no row of its log yet."""


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
        found[ELAPSED] = number(row[ELAPSED])
    return found


def read_curves(files: RunFiles, warn: Warn = ignore) -> Curves:
    """Raises Trouble for a damaged manifest or log, NoRow where no row was written yet."""
    manifest = read_manifest(files, warn)
    identity = manifest.identity
    try:
        rows = parse_log(files.log.read_bytes(), str(files.log))
    except FileNotFoundError:
        rows = []
    except OSError as error:
        raise Trouble(f"{files.log}: cannot be read: {error.strerror}", RESTORE) from error
    if not rows:
        raise NoRow(
            f"{files.root}: has no row in its log yet; one is written at the end of each epoch",
            f"see how far it is: python bundle.py status {shell_word(files.root)}",
        )
    per_step = identity.training.batchsize * identity.world.ranks
    by_step = per_step / identity.data.train.samples
    columns = {name: [row.get(name, math.nan) for row in rows] for name in COLUMNS}
    return Curves(
        files,
        manifest,
        [row[ITERATION] for row in rows],
        [row[ITERATION] * by_step for row in rows],
        {name: values for name, values in columns.items() if any(map(math.isfinite, values))},
        [step * by_step for step in resumptions(files, manifest)],
    )


def resumptions(files: RunFiles, manifest: Manifest) -> List[int]:
    """The steps after which another job went on; what cannot be read is not marked."""
    before = manifest.circumstance.resumed
    steps = {before.step} if before else set()
    with suppress(Trouble):
        if files.result.exists():
            return sorted({*steps, *read_result(files).observed.resumed_at})
    for checkpoint in present_states(files)[:1]:
        with suppress(Damaged, OSError):
            head = read_head(checkpoint)
            steps.update(head.resumed_at)
            if files.ready.exists() and checkpoint.stat().st_mtime <= files.ready.stat().st_mtime:
                steps.add(head.step)  # by a job that has written no checkpoint of its own yet
    return sorted(steps)
