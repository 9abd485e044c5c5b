"""What submit and rerun share once it is decided what is to run: write the run, start it, wait."""

from __future__ import annotations

import os
import shutil
import signal
import time
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Callable, Iterator, List, Optional, Tuple

from container import atomic
from container.digest import sha256_of_file
from container.trouble import Trouble
from jobtemplates.backend import job_number
from jobtemplates.script import log_name, quoted
from manifests import queue
from manifests.job import Job, read_job
from manifests.outcome import STOPPED_EXIT_CODE
from manifests.queue import Queues, Refused
from manifests.records import read_failure, read_manifest, read_stop
from manifests.run_state import left_exit_code
from manifests.rundir import Taken, create_run, run_name
from manifests.schema import RUN_MOUNT, Manifest, Placement, RunFiles
from manifests.surroundings import Surroundings

#: Between two looks at a job's log, and between two questions to a scheduler.
POLL_SECONDS = 0.2
ASK_SECONDS = 3.0

#: A shared file system may show a node's last files so many seconds late (nfs(5), acregmin).
SLOW_FILES = 4.0


@dataclass(frozen=True)
class Plan:
    """Everything that is decided before anything is written.

    ``fill`` puts ``config.yaml``, ``code/`` and ``inputs/`` into the new run directory. ``render``
    gives the job script of a run of another name, should this one be taken meanwhile.
    """

    files: RunFiles
    manifest: Manifest
    script: str
    render: Callable[[RunFiles], str]
    fill: Callable[[RunFiles], None]
    warnings: List[str]

    @property
    def placement(self) -> Placement:
        return self.manifest.circumstance.placement


def write_run(plan: Plan) -> RunFiles:
    """Make the run directory, whole or not at all. Raises Trouble when ``out`` cannot take it.

    Where another submit took its name since it was chosen, it gets the next one that is free.
    """
    while True:
        try:
            return _write(plan)
        except Taken:
            files = next_run(plan.files)
            plan = replace(plan, files=files, script=plan.render(files))


def _write(plan: Plan) -> RunFiles:
    def fill(files: RunFiles) -> None:
        plan.fill(files)
        files.logs.mkdir()
        files.results.mkdir(exist_ok=True)
        atomic.write_bytes(files.job_script, plan.script.encode("utf-8"))
        files.job_script.chmod(0o755)
        companions = {path.name: sha256_of_file(path) for path in (files.config, files.job_script)}
        manifest = plan.manifest.model_copy(update={"companions": companions})
        atomic.write_json(files.manifest, manifest.model_dump(mode="json"))

    return create_run(plan.files.root.parent, plan.files.root.name, fill)


def new_run(out: Path, jobname: str, now: datetime, identity_digest: str) -> RunFiles:
    """The file names of a run that is not there yet: the second after, where the name is taken."""
    while True:
        files = RunFiles(out / run_name(jobname, now, identity_digest))
        if not os.path.lexists(files.root):
            return files
        now += timedelta(seconds=1)


def next_run(files: RunFiles) -> RunFiles:
    """The first free name after this one, which :func:`new_run` made."""
    jobname, created, identity = files.root.name.rsplit("-", 2)
    second = datetime.strptime(created, "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
    return new_run(files.root.parent, jobname, second + timedelta(seconds=1), identity)


def start_new(files: RunFiles, around: Surroundings, follow_ups: int = 0) -> Job:
    """Start a run that was just written; where the scheduler refuses its job, it is gone again."""
    try:
        return start_run(files, around, follow_ups)
    except Refused:
        shutil.rmtree(files.root)
        raise


def start_run(
    files: RunFiles,
    around: Surroundings,
    follow_ups: int = 0,
    placement: Optional[Placement] = None,
) -> Job:
    """Hand the job script to the backend and record what it is called there.

    ``placement`` goes before the manifest's, as far as a written job script lets it: its words for
    the command line.

    Raises Refused, with everything as it was, when the backend does not take it.
    """
    before = read_job(files)
    placement = placement or read_manifest(files).circumstance.placement
    # Of an earlier job: nobody is to take them for this one's, and this one would end at once.
    marks = {path: path.read_bytes() for path in _marks(files) if path.exists()}
    for mark in marks:
        mark.unlink()
    if placement.scheduler != "local":
        # Until job.json is there: a job may be in the queue of which no file tells.
        atomic.write_bytes(files.submitting, f"{placement.jobname}\n".encode())
    try:
        job = queue.start(files, placement, around, follow_ups)
    except Refused:
        for mark, data in marks.items():
            atomic.write_bytes(mark, data)
        files.submitting.unlink(missing_ok=True)
        raise
    job = job.model_copy(update={"earlier": [*before.earlier, *before.ids] if before else []})
    atomic.write_json(files.job, job.model_dump(mode="json"))
    files.submitting.unlink(missing_ok=True)
    return job


def _marks(files: RunFiles) -> List[Path]:
    return [files.exit_code, files.failure, files.stopped]


def has_ended(files: RunFiles, around: Surroundings) -> bool:
    """Whether the run's job, with its follow-ups, is over; False where a scheduler is silent."""
    job = read_job(files)
    if job is None:
        return True
    if job.backend != "local":
        code = left_exit_code(files)
        if code is not None and not (code == STOPPED_EXIT_CODE and job.chain):
            return True
    state = Queues(around).entry(job).state
    return state in ("ended", "vanished") or (state == "unknown" and job.backend == "local")


def follow(files: RunFiles, stream: str, around: Surroundings, position: int = 0) -> Iterator[str]:
    """Yield what the job writes to ``stdout`` or ``stderr`` to its end, line by line.

    Begins after ``position`` bytes of its first file; follow-up jobs may have files of their own.
    """
    logs = logs_of(files, stream)
    job = read_job(files)
    pause = 0.0 if job is None or job.backend == "local" else ASK_SECONDS
    asked, ended = -pause, False
    while True:
        now = time.monotonic()
        if now - asked >= pause:
            asked, ended = now, has_ended(files, around)
        later = any(log.exists() for log in logs[1:])
        for line, end in _lines(logs[0], position, whole=not (ended or later)):
            position = end
            yield line
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


def exit_code_of(files: RunFiles, around: Surroundings) -> int:
    """The code that the job script left. Raises Trouble when it was ended before it could."""
    job = read_job(files)
    code = left_exit_code(files)
    patience = 0.0 if job is None or job.backend == "local" else SLOW_FILES
    begun = time.monotonic()
    while code is None and time.monotonic() - begun < patience:
        time.sleep(POLL_SECONDS)
        code = left_exit_code(files)
    if code is None:
        ending = Queues(around).ending(job) if job else None
        said = f" ({job.backend}: {ending.words})" if job and ending and ending.words else ""
        raise Trouble(
            f"{files.root}: the job ended without leaving its exit code: it was killed{said}",
            f"look into {files.logs}, then: {go_on(files)}",
        )
    return code


def cancel_run(files: RunFiles, around: Surroundings) -> bool:
    """End the run's job; False when it had ended before. Raises Trouble when it is not ours."""
    job = read_job(files)
    if job is None and files.submitting.exists():
        raise Trouble(
            f"{files.root}: the scheduler never said what its job is called",
            f"look for job {files.submitting.read_text().strip()} in its queue, and end it there",
        )
    if job is None:
        raise Trouble(f"{files.root}: was never started", "nothing is to be cancelled")
    if job.backend == "local" and job.host != around.host:
        raise Trouble(
            f"{files.root}: its job runs on host {job.host}, this is {around.host}",
            f"cancel it there: ssh {job.host}",
        )
    return queue.cancel(files, job, around)


def logs_of(files: RunFiles, stream: str) -> List[Path]:
    """Where a job and its follow-ups write ``stdout`` or ``stderr``, in order, each file once.

    The config may name it, with ``$JOB_ID``.
    """
    name = log_name(read_manifest(files).circumstance.placement, stream)
    job = read_job(files)
    numbers = [job_number(name) for name in job.ids] if job else [""]
    return list(dict.fromkeys(files.logs / name.replace("$JOB_ID", number) for number in numbers))


def log_of(files: RunFiles, stream: str) -> Path:
    """The newest of them that is there, else the first."""
    logs = logs_of(files, stream)
    return next((log for log in reversed(logs) if log.exists()), logs[0])


def explain_failure(files: RunFiles) -> str:
    """Why a job did not finish its run: it stopped in time, or what the first failing rank said,
    or the end of its standard error; and whether there is a checkpoint to go on from."""
    stopped = read_stop(files)
    if stopped is not None:
        why = {"signal": "a warning signal came", "walltime": "the walltime was nearly over"}
        return (
            f"stopped after step {stopped.step} of {stopped.steps}: {why[stopped.reason]}\n"
            f"-> {go_on(files)}"
        )
    from manifests.checkpoint import checkpoints_in

    lines = [why_failed(files)]
    if checkpoints_in(files.checkpoints):
        lines.append(f"-> once that is mended: {go_on(files)}")
    return "\n".join(lines)


def go_on(files: RunFiles) -> str:
    return f"python bundle.py resume {quoted(str(files.root))}"


def why_failed(files: RunFiles) -> str:
    failure = read_failure(files)
    if failure is not None:
        step = "" if failure.step is None else f", step {failure.step}"
        text = f"rank {failure.rank}{step}: {failure.message}\n-> {failure.next_step}"
        return text.replace(f"{RUN_MOUNT}/", f"{files.root}/")  # what the ranks call it
    log = log_of(files, "stderr")
    tail = log.read_text(errors="replace").splitlines()[-20:] if log.is_file() else []
    code = left_exit_code(files) or 0
    lines = ["the job failed; the end of its standard error:", *tail]
    if code > 128 and code - 128 in {number.value for number in signal.Signals}:
        name = signal.Signals(code - 128).name
        why = " (often: no memory was left)" if name == "SIGKILL" else ""
        lines = [f"the job failed: a rank was ended by {name}{why}", *tail]
    return "\n".join([*lines, f"-> see {files.logs}"])
