"""One run in a terminal: how far it is, its loss curve, its jobs, the end of its log"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any, List, Mapping, Optional

from container.trouble import Trouble
from manifests.cli.overview import status_parts
from manifests.cli.run_table import span
from manifests.cli.text_cells import folded, plain_text
from manifests.cli.text_chart import LEAST_HEIGHT, Point, Series, chart
from manifests.record.json_numbers import number
from manifests.record.log_columns import ITERATION, VALIDATION_LOSS
from manifests.record.run_files import RunFiles
from manifests.rundir.job import Job, read_job
from manifests.rundir.job_logs import log_of
from manifests.rundir.loss_samples import sampled_losses

#: Lines of the log, and bytes that are read for them.
LOG_LINES, LOG_BYTES = 6, 2**14
#: Of a log with a row for each test, the end; a row has some 300 bytes.
ROWS_BYTES = 2**18

Row = Mapping[str, Any]


def detail_lines(row: Row, width: int, height: int) -> List[str]:
    """At most ``height`` lines of at most ``width`` cells; where there is little room, what comes
    last goes first."""
    files = RunFiles(Path(row["run"]))
    jobs = job_texts(files)
    parts = [text for text in status_parts(row) if not (jobs and text.startswith("job "))]
    facts = [
        line
        for text in (row["name"], progress_text(row), *parts, *jobs)
        for line in folded(text, width)
    ]
    tail = [line for text in log_tail(files, LOG_LINES) for line in folded(text, width)[:1]]
    room = height - len(facts) - len(tail) - 1
    if room < LEAST_HEIGHT + 1:
        tail = tail[max(0, len(tail) - max(0, height - len(facts) - LEAST_HEIGHT - 2)) :]
        room = height - len(facts) - len(tail) - 1
    curve = loss_chart(files, width, room - 1)
    lines = [*facts, *curve]
    if tail and len(lines) + 1 < height:
        lines += [filled_rule("log", width), *tail]
    return lines[:height]


def progress_text(row: Row) -> str:
    left = row.get("seconds_left")
    loss = row.get("last_loss")
    return "  ".join(
        [
            row["state"],
            *([f"step {row['step']}/{row['steps']}"] if row.get("steps") else []),
            *([f"{row['percent']:.1f}%"] if row.get("steps") else []),
            *([f"loss {loss:.4g}"] if loss is not None else []),
            *([f"{span(left)} left"] if left is not None else []),
        ]
    )


def job_texts(files: RunFiles) -> List[str]:
    """Its jobs, the oldest first."""
    job: Optional[Job] = None
    with suppress(Trouble):
        job = read_job(files)
    if job is None:
        return []
    return [
        *([f"earlier jobs {', '.join(job.earlier)}"] if job.earlier else []),
        f"job {job.id} of {job.backend}, submitted {job.submitted} on {job.host}",
        *([f"then {', '.join(job.chain)}"] if job.chain else []),
    ]


def log_tail(files: RunFiles, count: int) -> List[str]:
    try:
        with log_of(files, "stdout").open("rb") as stream:
            stream.seek(max(0, stream.seek(0, 2) - LOG_BYTES))
            text = stream.read().decode("utf-8", "replace")
    except (OSError, Trouble):
        return []
    return [plain_text(line) for line in text.split("\n") if line.strip()][-count:]


def loss_chart(files: RunFiles, width: int, height: int) -> List[str]:
    training: List[Point] = [(float(x), y) for x, y in sampled_losses(files.trail_of(0), width)]
    validation = validation_losses(files.log)
    lines = chart([Series(".", training), Series("o", validation)], width, height)
    if not lines:
        return []
    return [filled_rule("loss over steps: . training, rank 0  o validation", width), *lines]


def validation_losses(log: Path) -> List[Point]:
    """(step, loss) of the last rows of the log."""
    try:
        with log.open("rb") as stream:
            begin = max(0, stream.seek(0, 2) - ROWS_BYTES)
            stream.seek(begin)
            lines = stream.read().split(b"\n")[1 if begin else 0 : -1]
    except OSError:
        return []
    found = []
    for line in lines:
        with suppress(ValueError, TypeError, KeyError, RecursionError, OverflowError):
            row = json.loads(line)
            found.append((float(row[ITERATION]), number(row[VALIDATION_LOSS])))
    return found


def filled_rule(text: str, width: int) -> str:
    return f"-- {text} ".ljust(width, "-")[:width]
