"""In which state a run is, told from the files of its directory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import AbstractSet, Literal, Optional

from jobtemplates.backend import JobState
from manifests.record.exit_codes import STOPPED_EXIT_CODE
from manifests.record.run_files import RunFiles

State = Literal[
    "prepared", "queued", "running", "stopped", "cancelled", "done", "failed", "unknown", "damaged",
]  # fmt: skip


def run_state(
    present: AbstractSet[str], exit_code: Optional[int], job: JobState, *, chained: bool = False
) -> State:
    """One word for a run.

    ``present`` holds the names in the run directory, ``exit_code`` what the job script left (None
    while it has left nothing), ``job`` what the scheduler says. Only DONE together with no failing
    exit code is a success, never a job's absence; ``stopped`` means that the run ended early at a
    checkpoint, to be resumed, by a follow-up job where one waits; whether one does is not known of
    a ``chained`` run whose scheduler is silent. ``submitting`` without a job: the scheduler was
    given one, and its answer never came. ``cancelled``: a person ended the job; what it left on its
    way out is not a failure. ``interrupted``: the job script's last word, which holds also when the
    scheduler has forgotten the job.
    """
    if "cancelled.json" in present and not {"DONE", "result.json"} <= present:
        return _cancelled(exit_code, job, chained=chained)
    if exit_code == STOPPED_EXIT_CODE and "stopped.json" in present:
        if job in ("queued", "running") or (chained and job == "unknown"):
            return job
        return "stopped"
    if exit_code not in (None, 0):
        return "failed"
    if "DONE" in present and "result.json" in present:
        return "done"
    if "failure.json" in present or exit_code == 0:
        return "failed"
    if "job.json" not in present:
        return "unknown" if "submitting" in present else "prepared"
    if job in ("queued", "running"):
        return job
    over = job == "ended" or (job == "vanished" and "interrupted" in present)
    return "failed" if over else "unknown"


def _cancelled(exit_code: Optional[int], job: JobState, *, chained: bool) -> State:
    """A job may take its time to end; whether it has is not known where nobody answers."""
    if job in ("queued", "running"):
        return job
    over = job in ("ended", "vanished") or (exit_code is not None and not chained)
    return "cancelled" if over else "unknown"


def present_names(files: RunFiles) -> AbstractSet[str]:
    try:
        return frozenset(os.listdir(files.root))  # noqa: PTH208  (asked of thousands of runs)
    except OSError:
        return frozenset()


def left_exit_code(files: RunFiles) -> Optional[int]:
    """What the job script wrote last; None where it wrote nothing whole."""
    return _number_in(files.exit_code)


def interruption(files: RunFiles) -> str:
    """How the ranks of a job were ended from outside, which is not a failure of the run; "" where
    they were not."""
    status = _number_in(files.interrupted)
    if status is None:
        return ""
    import signal

    if status - 128 in {number.value for number in signal.Signals}:
        name = signal.Signals(status - 128).name
        why = " (often: no memory was left)" if name == "SIGKILL" else ""
        return f"the job was ended from outside: a rank was ended by {name}{why}"
    if status == 0:
        return "the job was ended from outside, before its ranks were done"
    lost = "its launcher was ended, or lost ranks or a node"
    return f"the job was ended from outside: {lost} (status {status})"


def _number_in(path: Path) -> Optional[int]:
    try:
        with open(path, encoding="ascii") as stream:
            return int(stream.read())
    except (OSError, ValueError):
        return None
