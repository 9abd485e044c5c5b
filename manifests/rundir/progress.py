"""How far a run is, from small files and the ends of long ones: never a scan of a trail"""

from __future__ import annotations

import json
import math
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from manifests.record.json_numbers import WORDS, number
from manifests.record.log_columns import ITERATION, LOSS, SPEED, TIMINGS
from manifests.record.run_files import RunFiles
from manifests.rundir.outline import GREATEST, Outline

#: Seconds without a step after which a job of which nothing is known may be over.
_LATELY = 900.0

#: A trail's line holds a digest of each tensor now and then: the last whole one lies in this end.
_FIRST_LOOK = 2**12
_LAST_LOOK = 2**21


@dataclass(frozen=True)
class Progress:
    """``step`` are steps done, of ``steps``; ``loss`` is that of rank 0 in the last one, or of the
    log's last row where the run has ended. Rates are those of the job that runs, from its start or
    its oldest checkpoint on, evaluation included. Seconds are counted from now."""

    step: int
    steps: int
    loss: Optional[float] = None
    images_per_second: Optional[float] = None
    seconds_left: Optional[float] = None
    walltime_left: Optional[float] = None
    checkpoint_step: Optional[int] = None
    checkpoint_age: Optional[float] = None
    resumptions: int = 0

    @property
    def percent(self) -> float:
        return 100.0 * self.step / self.steps if self.steps else 0.0


def read_progress(
    files: RunFiles, outline: Outline, row: Dict[str, Any], *, running: bool, now: float
) -> Progress:
    """``row`` is the last of the log; ``now`` in seconds since 1970, by the files' clock."""
    record = last_record(files.trail_of(0)) or {}
    step = _whole(record.get("step")) or _whole(row.get(ITERATION)) or 0
    ready = _changed(files.ready)
    checkpoints = _checkpoints(files)
    rate = None
    if running and ready is not None:
        rate = _rate(step, _changed(files.trail_of(0)), ready, checkpoints)
    loss = _loss(record.get("loss")) if running else None
    newest = checkpoints[0] if checkpoints else None
    speed = row.get(SPEED)
    if rate is not None:
        speed = rate * outline.batch
    return Progress(
        step=step,
        steps=outline.steps,
        loss=row.get(LOSS) if loss is None else loss,
        images_per_second=speed,
        seconds_left=(outline.steps - step) / rate if rate else None,
        walltime_left=_walltime_left(outline, ready, now) if running else None,
        checkpoint_step=newest[0] if newest else None,
        checkpoint_age=max(0.0, now - newest[1]) if newest else None,
        resumptions=_resumptions(newest, ready),
    )


def steps_lately(files: RunFiles, now: float) -> bool:
    """Whether a job that nobody here can ask for, as one of another host, has just done a step."""
    last = _changed(files.trail_of(0))
    return last is not None and now - last < _LATELY


def last_row(log: Path) -> Dict[str, Any]:
    """The numbers of the last whole row of a run's log; empty before the first. Damaged lines are
    passed over, and so are values that no trainer writes.

    Numbers that are not finite are floats, in whichever form they were written.
    """
    row = last_record(log) or {}
    return {name: value for name, value in row.items() if _is_possible(name, value)}


def _is_possible(column: str, value: Any) -> bool:
    if type(value) not in (int, float) or (type(value) is int and abs(value) > GREATEST):
        return False
    if column == ITERATION:
        return type(value) is int and value >= 0
    return column not in TIMINGS or (math.isfinite(value) and value >= 0)


def last_record(path: Path) -> Optional[Dict[str, Any]]:
    """The last whole line of a file of JSON objects; None where there is none."""
    look = _FIRST_LOOK
    while look <= _LAST_LOOK:
        try:
            with open(path, "rb") as stream:
                size = stream.seek(0, 2)
                stream.seek(max(0, size - look))
                lines = stream.read().split(b"\n")[:-1]  # what follows is not finished
        except OSError:
            return None
        for line in reversed(lines if look >= size else lines[1:]):
            with suppress(ValueError, RecursionError):
                value = json.loads(line)
                if isinstance(value, dict):
                    return {k: number(v) if v in WORDS else v for k, v in value.items()}
        if look >= size:
            return None
        look *= 8
    return None


_Checkpoint = Tuple[int, float, Path]


def _checkpoints(files: RunFiles) -> List[_Checkpoint]:
    """(step, when it was written, file), the newest first."""
    from manifests.record.checkpoint_names import step_of
    from manifests.rundir.present_states import present_states

    found = [(step_of(path), _changed(path), path) for path in present_states(files)]
    return [(step, at, path) for step, at, path in found if step is not None and at is not None]


def _rate(
    step: int, last: Optional[float], ready: float, checkpoints: List[_Checkpoint]
) -> Optional[float]:
    """Steps per second of the job whose ranks were ready then. It began with the newest checkpoint
    from before; a checkpoint of its own is as good a place to count from."""
    if last is None:
        return None
    before = [saved for saved, at, _ in checkpoints if at <= ready]
    own = [(saved, at) for saved, at, _ in checkpoints if at > ready]
    if before or not own:
        begin, since = (before[0] if before else 0), ready
    else:
        begin, since = own[-1]
    if step <= begin or last <= since:
        return None
    return (step - begin) / (last - since)


def _walltime_left(outline: Outline, ready: Optional[float], now: float) -> Optional[float]:
    """From the time when the ranks were ready on, which is a little after the job's start."""
    if outline.walltime is None or ready is None:
        return None
    hours, minutes, seconds = (int(part) for part in outline.walltime.split(":"))
    return max(0.0, ready + 3600 * hours + 60 * minutes + seconds - now)


def _resumptions(newest: Optional[_Checkpoint], ready: Optional[float]) -> int:
    """How often a job took the run over, as its newest checkpoint tells; a job that has written
    none yet took it over there."""
    if newest is None:
        return 0
    from manifests.record.checkpoint import Damaged, read_head

    _, at, path = newest
    try:
        counted = len(read_head(path).resumed_at)
    except (Damaged, OSError):
        counted = 0
    return counted + (1 if ready is not None and at <= ready else 0)


def _changed(path: Path) -> Optional[float]:
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def _whole(value: Any) -> Optional[int]:
    return value if type(value) is int and value >= 0 else None


def _loss(value: Any) -> Optional[float]:
    """Of a trail, where it is hexadecimal text."""
    try:
        found = float.fromhex(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else math.nan
