"""What `list` and `status` know of runs: a row each, from their directories; nothing is changed"""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Collection, Dict, List, Optional, Sequence

from container.reachable import folder_here
from container.shell_word import shell_word
from container.trouble import Trouble
from manifests.cli.run_table import Columns, Row, duration, plain, short, span
from manifests.cli.text_cells import plain_text, width_of
from manifests.host.context import HostContext
from manifests.record.json_numbers import not_finite_text
from manifests.record.log_columns import (
    ELAPSED,
    EPOCH,
    ITERATION,
    LOSS,
    VALIDATION_ACCURACY,
    VALIDATION_ACCURACY_TOP5,
    VALIDATION_LOSS,
)
from manifests.record.run_files import RunFiles
from manifests.rundir.directory import RunSummary, find_run, list_runs, summary_of
from manifests.rundir.glance import Said, job_id_of, said_of
from manifests.rundir.known_outs import known_outs
from manifests.rundir.outline import Outline, read_outline
from manifests.rundir.progress import last_row, read_progress, steps_lately
from manifests.rundir.records import Warn, ignore

if TYPE_CHECKING:
    from jobtemplates.backend import QueueEntry

#: A damaged run may be under way: it is shown with them.
UNDER_WAY = ("prepared", "queued", "running", "stopped", "unknown", "damaged")


def _refuse_runs(outs: List[Path]) -> None:
    """Raise Trouble for a run directory: one of its own would be "no run is there"."""
    for out in outs:
        if RunFiles(out).manifest.is_file():
            raise Trouble(
                f"{out}: is a run directory, not a folder of runs",
                f"see this run: python bundle.py show {shell_word(out)}; and all beside it: "
                f"python bundle.py list {shell_word(out.absolute().parent)}",
            )


def runs_below(outs: List[Path], host: HostContext, warn: Warn = ignore) -> List[RunSummary]:
    """The runs of ``outs``, or of all known outs; a damaged run is one of the runs.

    Raises Trouble for a folder that was asked for and cannot be read. Of the known ones, one that
    is gone is left out, and one that cannot be read is warned of.
    """
    ask = scheduler_of(host, warn)
    if outs:
        _refuse_runs(outs)
        return [run for out in outs for run in list_runs(out, ask, warn)]
    found: List[RunSummary] = []
    for out in known_outs(host.cache):
        try:
            found += list_runs(out, ask, warn)
        except Trouble as trouble:
            if folder_here(out):
                warn(f"{trouble.problems[0]}; its runs are not shown")
    return found


def scheduler_of(host: HostContext, warn: Warn) -> Callable[[RunFiles], QueueEntry]:
    """What the schedulers say of a run's job; imported when the first run's files leave it open."""
    made: List[Callable[[RunFiles], QueueEntry]] = []

    def ask(files: RunFiles) -> QueueEntry:
        if not made:
            from manifests.rundir.queue import Queues

            made.append(Queues(host, warn))
        return made[0](files)

    return ask


def summary(run: Path, host: HostContext, warn: Warn = ignore) -> RunSummary:
    return summary_of(find_run(str(run)), scheduler_of(host, warn), warn)


# --- rows -----------------------------------------------------------------------------------


def row_of(run: RunSummary, warn: Warn = ignore, *, progress: bool = False) -> Dict[str, Any]:
    """One run by the names of columns; what the run does not have yet is None.

    A run whose records cannot be read is ``damaged``; ``warn`` gets the reason.
    """
    files, last = run.files, last_row(run.files.log)
    numbers = {k: v for k, v in last.items() if isinstance(v, float)}
    state, job, outline = run.state, None, None
    try:
        outline = read_outline(files)
        job = job_id_of(files, run.present, warn)
    except Trouble as trouble:
        # What is damaged was said already, and of a run that is removed meanwhile nothing is.
        if state != "damaged" and files.manifest.is_file():
            state = "damaged"
            for problem in trouble.problems:
                warn(problem)
    said = _said(run, warn)
    return {
        "run": str(files.root),
        "name": files.root.name,
        "jobname": run.jobname,
        "state": state,
        "why": run.why or not_finite_text(numbers) or None,
        "job": run.job or job,
        "identity": run.identity,
        "created": run.created,
        "local": local_time(run.created),
        "kind": outline.run_kind if outline else None,
        "of": outline.of if outline else None,
        "arch": outline.arch if outline else None,
        **_verdict(files, wanted=bool(outline and outline.run_kind == "rerun")),
        "message": said.message,
        "tags": said.tags,
        "notes": said.notes,
        "seconds": last.get(ELAPSED),
        "epoch": last.get(EPOCH),
        "iteration": last.get(ITERATION),
        "loss": last.get(LOSS),
        "validation_loss": last.get(VALIDATION_LOSS),
        "accuracy": last.get(VALIDATION_ACCURACY),
        "accuracy_top5": last.get(VALIDATION_ACCURACY_TOP5),
        **(_progress(files, outline, last, state) if progress else {}),
    }


def _said(run: RunSummary, warn: Warn) -> Said:
    try:
        return said_of(run.files, run.present, warn)
    except Trouble as trouble:
        for problem in trouble.problems:
            warn(problem)
        return Said()


def _verdict(files: RunFiles, *, wanted: bool) -> Dict[str, Optional[str]]:
    """The verdict on a rerun, and on which steps it is where not all were compared."""
    nothing: Dict[str, Optional[str]] = {"verdict": None, "verdict_steps": None}
    if not wanted:
        return nothing
    try:
        found = json.loads(files.verdict.read_bytes())
        verdict, part = found["verdict"], found.get("steps")
        steps = f"steps {part['after'] + 1}..{part['end']} of {part['of']}" if part else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return nothing
    return {"verdict": verdict, "verdict_steps": steps} if isinstance(verdict, str) else nothing


def _progress(
    files: RunFiles, outline: Optional[Outline], last: Dict[str, Any], state: str
) -> Dict[str, Any]:
    if outline is None or state == "damaged":
        return {}
    now = time.time()
    running = state == "running" or (state == "unknown" and steps_lately(files, now))
    found = read_progress(files, outline, last, running=running, now=now)
    values = asdict(found)
    loss = values.pop("loss")
    done = {"percent": found.percent, "last_loss": loss}
    return {**values, **done}


def local_time(created: str) -> Optional[str]:
    """UTC as in a run's name -> this account's time, 2026-01-31 23:59."""
    try:
        moment = datetime.strptime(created, "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
        return moment.astimezone().strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError):
        return None


def rows_of(
    runs: Sequence[RunSummary], warn: Warn, *, progress: bool = False
) -> List[Dict[str, Any]]:
    """A row each; a run that is removed meanwhile is left out."""
    rows = [row_of(run, warn, progress=progress) for run in runs]
    return [row for run, row in zip(runs, rows) if run.files.manifest.is_file()]


def list_rows(outs: List[Path], host: HostContext, warn: Warn = ignore) -> List[Dict[str, Any]]:
    rows = rows_of(runs_below(outs, host, warn), warn)
    return sorted(rows, key=lambda row: (row["created"], row["run"]))


def status_rows(
    runs: List[Path], host: HostContext, warn: Warn = ignore, seen: Collection[str] = ()
) -> List[Dict[str, Any]]:
    """Of ``runs``, or of all that are under way and of those that were ``seen`` to be.

    Raises Trouble for one of ``runs`` that is none; one that is removed meanwhile is left out.
    """
    if runs:
        ask = scheduler_of(host, warn)
        found = [summary_of(find_run(str(run)), ask, warn) for run in runs]
    else:
        found = [
            run
            for run in runs_below([], host, warn)
            if run.state in UNDER_WAY or str(run.files.root) in seen
        ]
    return rows_of(found, warn, progress=True)


# --- what a person is shown -----------------------------------------------------------------


def _steps(row: Row) -> str:
    return f"{row['step']}/{row['steps']}" if row.get("steps") else "-"


def _percent(row: Row) -> str:
    return f"{row['percent']:.1f}%" if row.get("steps") else "-"


LIST_COLUMNS: Columns = {
    "run": plain("name"),
    "state": plain("state"),
    "submitted": plain("local"),
    "took": duration("seconds"),
    "top-1": short("accuracy", ".3f"),
}
STATUS_COLUMNS: Columns = {
    "run": plain("name"),
    "state": plain("state"),
    "step": _steps,
    "done": _percent,
    "loss": short("last_loss", ".3g"),
    "left": duration("seconds_left"),
}
WIDE_LIST: Columns = {
    "run": plain("run"),
    **{name: cell for name, cell in LIST_COLUMNS.items() if name != "run"},
    "top-5": short("accuracy_top5", ".3f"),
    "loss": short("loss"),
    "arch": plain("arch"),
    "kind": plain("kind"),
    "of": plain("of"),
    "verdict": plain("verdict"),
    "tags": lambda row: plain_text(",".join(row["tags"])) or "-",
    "message": plain("message"),
    "why": plain("why"),
}
WIDE_STATUS: Columns = {
    "run": plain("run"),
    **{name: cell for name, cell in STATUS_COLUMNS.items() if name != "run"},
    "job": plain("job"),
    "epoch": short("epoch"),
    "images/s": short("images_per_second", ".4g"),
    "walltime left": duration("walltime_left"),
    "checkpoint": plain("checkpoint_step"),
    "age": duration("checkpoint_age"),
    "resumed": plain("resumptions"),
    "top-1": short("accuracy", ".3f"),
    "top-5": short("accuracy_top5", ".3f"),
    "why": plain("why"),
}


def list_parts(row: Row) -> List[str]:
    """What `list` says of a run below its line."""
    of = f" of {Path(row['of']).name}" if row["of"] else ""
    kinds = {"rerun": f"rerun{of}", "resumed": f"goes on from {of[4:] or 'a checkpoint'}"}
    verdict = f": {row['verdict']}" if row["verdict"] else ""
    verdict += f" for {row['verdict_steps']}" if row["verdict_steps"] else ""
    return [
        *([kinds[row["kind"]] + verdict] if row["kind"] in kinds else []),
        *([" ".join(f"#{tag}" for tag in row["tags"])] if row["tags"] else []),
        *([row["message"]] if row["message"] else []),
        *row["notes"][-1:],
        *([row["why"]] if row["why"] else []),
    ]


def status_parts(row: Row) -> List[str]:
    """What `status` says of a run below its line."""
    step, speed, left = (
        row.get(name) for name in ("checkpoint_step", "images_per_second", "walltime_left")
    )
    times = row.get("resumptions") or 0
    return [
        *([f"job {row['job']}"] if row["job"] else []),
        *([f"{speed:.4g} images/s"] if isinstance(speed, (int, float)) else []),
        *(
            [f"checkpoint after step {step}, {span(row['checkpoint_age'])} ago"]
            if step is not None
            else []
        ),
        *([f"resumed {times} time{'s' if times != 1 else ''}"] if times else []),
        *([f"{span(left)} of its walltime left"] if left is not None else []),
        *([row["message"]] if row["message"] else []),
        *([row["why"]] if row["why"] else []),
    ]


def lines_of(rows: Sequence[Row], verb: str, *, wide: bool, width: int) -> List[str]:
    """The rows as `list` or `status` (``verb``) show them."""
    from manifests.cli.run_table import joined, laid_out

    narrow, full, parts = {
        "list": (LIST_COLUMNS, WIDE_LIST, list_parts),
        "status": (STATUS_COLUMNS, WIDE_STATUS, status_parts),
    }[verb]
    if not wide:
        return laid_out(rows, narrow, parts, width)
    cells = [list(full), *([text(row) for text in full.values()] for row in rows)]
    widths = [max(width_of(line[place]) for line in cells) for place in range(len(full))]
    return [joined(line, widths) for line in cells]
