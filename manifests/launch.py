"""What submit and rerun share once it is decided what is to run: write the run, start it, wait."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Callable, Iterator, List

from container import atomic
from container.digest import sha256_of_file
from container.trouble import Trouble
from jobtemplates import local
from manifests.checkpoint import checkpoints_in
from manifests.job import Job, read_job
from manifests.records import read_failure, read_manifest, read_stop
from manifests.run_state import left_exit_code
from manifests.rundir import create_run, run_name
from manifests.schema import Manifest, RunFiles
from manifests.surroundings import Surroundings

POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Plan:
    """Everything that is decided before anything is written.

    ``fill`` puts ``config.yaml``, ``code/`` and ``inputs/`` into the new run directory.
    """

    files: RunFiles
    manifest: Manifest
    script: str
    fill: Callable[[RunFiles], None]
    warnings: List[str]


def write_run(plan: Plan) -> RunFiles:
    """Make the run directory, whole or not at all. Raises Trouble when ``out`` cannot take it."""

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


def start_run(files: RunFiles, around: Surroundings) -> Job:
    """Hand the job script to the backend and record what it is called there."""
    before = read_job(files)
    for mark in (files.exit_code, files.failure, files.stopped):
        mark.unlink(missing_ok=True)  # of an earlier job: nobody is to take it for this one's
    job_id = local.start(files, around.environ)
    job = Job(
        backend="local",
        id=job_id,
        host=around.host,
        submitted=around.timestamp(),
        earlier=[*before.earlier, before.id] if before else [],
    )
    atomic.write_json(files.job, job.model_dump(mode="json"))
    return job


def job_is_alive(files: RunFiles, host: str) -> bool | None:
    """Whether the run's job is in its queue; None where that cannot be known from this host."""
    job = read_job(files)
    if job is None or job.host != host:
        return None
    return local.is_alive(job.id)


def follow(files: RunFiles, log: Path, host: str, position: int = 0) -> Iterator[str]:
    """Yield what the job writes to ``log`` after ``position`` (bytes), line by line, to its end."""
    while True:
        ended = not job_is_alive(files, host)
        if log.exists():
            with log.open("r", encoding="utf-8", errors="replace") as stream:
                stream.seek(position)
                while True:
                    line = stream.readline()
                    if not line or not (line.endswith("\n") or ended):
                        break
                    position = stream.tell()
                    yield line.rstrip("\n")
        if ended:
            return
        time.sleep(POLL_SECONDS)


def exit_code_of(files: RunFiles) -> int:
    """The code that the job script left. Raises Trouble when it was ended before it could."""
    code = left_exit_code(files)
    if code is None:
        raise Trouble(
            f"{files.root}: the job ended without leaving its exit code: it was killed",
            f"look into {files.logs}, then: {go_on(files)}",
        )
    return code


def cancel_run(files: RunFiles, host: str) -> bool:
    """End the run's job; False when it had ended before. Raises Trouble when it is not ours."""
    job = read_job(files)
    if job is None:
        raise Trouble(f"{files.root}: was never started", "nothing is to be cancelled")
    if job.host != host:
        raise Trouble(
            f"{files.root}: its job runs on host {job.host}, this is {host}",
            f"cancel it there: ssh {job.host}",
        )
    return local.cancel(job.id)


def log_of(files: RunFiles, stream: str) -> Path:
    """Where the job writes ``stdout`` or ``stderr``; the config may name it, with ``$JOB_ID``."""
    wanted = getattr(read_manifest(files).circumstance.placement, stream) or f"{stream}.log"
    job = read_job(files)
    number = job.id.partition(".")[0] if job else ""
    return files.logs / wanted.replace("$JOB_ID", number)


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
    lines = [why_failed(files)]
    if checkpoints_in(files.checkpoints):
        lines.append(f"-> once that is mended: {go_on(files)}")
    return "\n".join(lines)


def go_on(files: RunFiles) -> str:
    return f"python bundle.py resume {files.root}"


def why_failed(files: RunFiles) -> str:
    failure = read_failure(files)
    if failure is not None:
        step = "" if failure.step is None else f", step {failure.step}"
        return f"rank {failure.rank}{step}: {failure.message}\n-> {failure.next_step}"
    log = log_of(files, "stderr")
    tail = log.read_text(errors="replace").splitlines()[-20:] if log.is_file() else []
    code = left_exit_code(files) or 0
    lines = ["the job failed; the end of its standard error:", *tail]
    if code > 128 and code - 128 in {number.value for number in signal.Signals}:
        name = signal.Signals(code - 128).name
        why = " (often: no memory was left)" if name == "SIGKILL" else ""
        lines = [f"the job failed: a rank was ended by {name}{why}", *tail]
    return "\n".join([*lines, f"-> see {files.logs}"])
