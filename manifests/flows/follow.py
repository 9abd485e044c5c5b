"""Follow a job: what it prints, until it ends, and its exit code."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Callable, Iterator, List, Optional, Tuple

from container.trouble import Trouble
from jobtemplates.backend import QueueEntry
from jobtemplates.schedulers import backend_named
from manifests.flows.explain import go_on
from manifests.host.context import HostContext
from manifests.record.exit_codes import STOPPED_EXIT_CODE
from manifests.record.run_files import RunFiles
from manifests.rundir.cancellation import read_cancellation
from manifests.rundir.job import read_job
from manifests.rundir.job_logs import logs_of
from manifests.rundir.queue import Queues
from manifests.rundir.records import Warn, ignore
from manifests.rundir.run_state import interruption, left_exit_code

#: Between two looks at a job's log.
POLL_SECONDS = 0.2

#: A job that prints nothing for so long is said to be on its way.
SILENT_SECONDS = 2.0


def job_now(
    files: RunFiles, host: HostContext, queues: Optional[Queues] = None
) -> Optional[QueueEntry]:
    """The run's job with its follow-ups, as long as it waits or runs, or nothing is known of it;
    None when it is over. ``queues`` are those of this moment, where several runs are looked at."""
    job = read_job(files)
    if job is None:
        return None
    here = backend_named(job.backend).runs_here
    if not here:
        code = left_exit_code(files)
        if code is not None and not (code == STOPPED_EXIT_CODE and job.chain):
            return None
    entry = (queues or Queues(host)).entry(job)
    over = entry.state in ("ended", "vanished") or (entry.state == "unknown" and here)
    return None if over else replace(entry, job=entry.job or job.id)


def words_of(entry: QueueEntry) -> str:
    """What `status` shows of a job, in a line."""
    return f"job {entry.job}: {entry.state}{f': {entry.why}' if entry.why else ''}"


class Waiting:
    """Says what becomes of a job that is waited for, each time that it changes.

    A job that runs at once needs no words, unless it prints nothing for a while.
    """

    def __init__(
        self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._say = say
        self._said = ""
        self._quiet = True
        self._clock = clock
        self._heard = clock()
        self._stages: List[str] = []

    def silent(self, name: str, *, ready: bool, heard: bool) -> None:
        """Once for each: the ranks start, and train. ``heard``: the job printed something now."""
        now = self._clock()
        if heard:
            self._heard = now
        stage = (
            "its ranks work; a row of the log follows each epoch"
            if ready
            else ("the image and its ranks start")
        )
        if now - self._heard >= SILENT_SECONDS and stage not in self._stages:
            self._stages.append(stage)
            self._say(f"job {name}: {stage}")

    def __call__(self, entry: QueueEntry) -> None:
        words = words_of(entry)
        if words == self._said or (self._quiet and (entry.state, entry.why) == ("running", "")):
            return
        self._said, self._quiet = words, False
        self._say(words)


def follow(
    files: RunFiles, stream: str, host: HostContext, position: int = 0, say: Warn = ignore
) -> Iterator[str]:
    """Yield what the job writes to ``stdout`` or ``stderr`` to its end, line by line.

    Begins after ``position`` bytes of its first file; follow-up jobs may have files of their own.
    ``say`` gets what the scheduler says of the job, when that changes.
    """
    waiting = Waiting(say)
    entry: Optional[QueueEntry] = None
    logs = logs_of(files, stream)
    job = read_job(files)
    pause = 0.0 if job is None else backend_named(job.backend).ask_seconds
    asked, ended = -pause, False
    while True:
        now = time.monotonic()
        if now - asked >= pause:
            entry = job_now(files, host)
            asked, ended = now, entry is None
            if entry is not None:
                waiting(entry)
        later = any(log.exists() for log in logs[1:])
        before = position
        for line, end in _lines(logs[0], position, whole=not (ended or later)):
            position = end
            yield line
        if entry is not None and entry.state == "running":
            waiting.silent(entry.job, ready=files.ready.exists(), heard=position != before)
        if later:
            logs, position = logs[1:], 0
        elif ended:
            return
        else:
            time.sleep(POLL_SECONDS)


def _lines(log: Path, position: int, *, whole: bool) -> Iterator[Tuple[str, int]]:
    """Lines after ``position`` and where each ends; the last one, if unfinished, unless whole."""
    if not log.exists():
        return
    with log.open("r", encoding="utf-8", errors="replace") as stream:
        stream.seek(position)
        while True:
            line = stream.readline()
            if not line or (whole and not line.endswith("\n")):
                return
            yield line.rstrip("\n"), stream.tell()


def exit_code_of(files: RunFiles, host: HostContext) -> int:
    """The code that the job script left. Raises Trouble when it was ended before it could."""
    job = read_job(files)
    code = left_exit_code(files)
    patience = 0.0 if job is None else backend_named(job.backend).slow_files
    begun = time.monotonic()
    while code is None and time.monotonic() - begun < patience:
        time.sleep(POLL_SECONDS)
        code = left_exit_code(files)
    cancelled = read_cancellation(files)
    if code != 0 and cancelled is not None:
        raise Trouble(f"{files.root}: was {cancelled.text}", f"to go on: {go_on(files)}")
    if code is None:
        ending = Queues(host).ending(job) if job else None
        why = interruption(files) or "the job ended without leaving its exit code: it was killed"
        said = f" ({job.backend}: {ending.words})" if job and ending and ending.words else ""
        raise Trouble(
            f"{files.root}: {why}{said}",
            f"look into {files.logs}, then: {go_on(files)}",
        )
    return code
