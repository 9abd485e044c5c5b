"""End the job of a run, at a checkpoint where that is wanted."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Callable, List, Optional

from container import atomic
from container.process import CommandFailed
from container.shell_word import shell_word
from container.trouble import Trouble
from jobtemplates import local
from jobtemplates.backend import Scheduler
from jobtemplates.schedulers import backend_named
from manifests.host.context import HostContext
from manifests.host.interrupts import held_back
from manifests.record.checkpoint_names import checkpoints_in, step_of
from manifests.record.run_files import RunFiles
from manifests.rundir import questions, queue
from manifests.rundir.cancellation import Cancellation
from manifests.rundir.job import Job, read_job, read_submitting
from manifests.rundir.records import read_stop

#: Seconds in which a job that was asked to save has to leave its checkpoint.
SAVE_SECONDS = 600.0

CANCELLING = "the job is being cancelled; Ctrl-C once more to leave it as it is"
ASKING = "it ends when the job was asked to save"

#: Between two looks at what a job left.
LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class Cancelled:
    """``alive``: whether there was something to end; ``step``: after which a checkpoint was
    written for it, None where none was asked for."""

    alive: bool
    step: Optional[int] = None


class Interrupted(Trouble):
    """Ctrl-C while a job that was asked to save, or to end, is waited for."""

    exit_code = 130


def cancel_run(files: RunFiles, host: HostContext, queues: Optional[queue.Queues] = None) -> bool:
    """End the run's job; False when it had ended before. Raises Trouble when it is not ours.

    ``cancelled.json`` says so from before the job ends, so that nobody takes it for a failure.
    Raises Interrupted where Ctrl-C came meanwhile, and came again before the job had ended.
    ``queues`` are those of this moment, where several runs are cancelled.
    """
    return _end(files, job_to_cancel(files, host), host, queues, saved=False)


def cancel_saving(
    files: RunFiles,
    host: HostContext,
    say: Callable[[str], None],
    seconds: float = SAVE_SECONDS,
) -> Cancelled:
    """Ask the job for a checkpoint, wait for it, and end what is left of the job.

    Follow-ups are ended first: none is to go on from that checkpoint. A job that still waits in its
    queue has nothing to save. Raises Trouble, and leaves the job as it is, where it cannot be asked
    or does not answer within so many seconds.
    """
    job = job_to_cancel(files, host)
    running = _running(files, job, host)
    if running is None:
        return Cancelled(_end(files, job, host, saved=False))
    before = _newest_step(files)
    try:
        with held_back(ASKING):
            _ask_to_save(files, job, running, host)
        say("waiting for its checkpoint")
        step = _saved(files, job, host, before, seconds)
    except KeyboardInterrupt:
        raise _left_alone(files, job, host) from None
    step = step or _stopped_at(files, job, before)
    alive = _end(files, job, host, saved=step is not None, ended=True)
    return Cancelled(alive or step is not None, step)


def _saved(
    files: RunFiles, job: Job, host: HostContext, before: int, seconds: float
) -> Optional[int]:
    """Wait until the job has stopped; the step after which it did."""
    begun = time.monotonic()
    step: Optional[int] = None
    while step is None and _running(files, job, host) is not None:
        if time.monotonic() - begun > seconds:
            raise Trouble(
                f"{files.root}: wrote no checkpoint within {seconds:g} s; it goes on",
                f"to end it without one: python bundle.py cancel {shell_word(files.root)}",
            )
        time.sleep(LOOK_SECONDS)
        step = _stopped_at(files, job, before)
    return step


def _left_alone(files: RunFiles, job: Job, host: HostContext) -> Interrupted:
    """Nobody waits for the checkpoint any more, but the job was asked for it."""
    if _begins_again(job):
        what = "it writes its checkpoint, and its follow-up goes on from there"
    else:
        _mark(files, host, saved=True)
        what = "it writes its checkpoint and ends"
    return Interrupted(
        f"interrupted: {files.root}: {what}",
        f"to end it at once: python bundle.py cancel {shell_word(files.root)}",
    )


def _begins_again(job: Job) -> bool:
    """Whether nothing but this host's supervisor keeps the job's follow-ups."""
    return job.follow_ups > 0 and backend_named(job.backend).runs_here


def _stopped_at(files: RunFiles, job: Job, before: int) -> Optional[int]:
    """The step after which the job saved and stopped. A local chain begins again at once, and
    takes its mark away: there a newer checkpoint tells."""
    stop = read_stop(files)
    if stop is not None:
        return stop.step
    newest = _newest_step(files)
    return newest if _begins_again(job) and newest > before else None


def _newest_step(files: RunFiles) -> int:
    return max((step_of(path) or 0 for path in checkpoints_in(files.checkpoints)), default=0)


def job_to_cancel(files: RunFiles, host: HostContext) -> Job:
    """Raises Trouble where there is none, or it can only be ended elsewhere."""
    job = read_job(files)
    noted = read_submitting(files)
    if job is None and noted is not None:
        raise Trouble(
            f"{files.root}: the scheduler never said what its job is called",
            f"look for job {noted.jobname} in its queue, and end it there",
        )
    if job is None:
        raise Trouble(f"{files.root}: was never started", "nothing is to be cancelled")
    if backend_named(job.backend).runs_here and job.host != host.hostname:
        raise Trouble(
            f"{files.root}: its job runs on host {job.host}, this is {host.hostname}",
            f"cancel it there: ssh {job.host}",
        )
    return job


def _end(
    files: RunFiles,
    job: Job,
    host: HostContext,
    queues: Optional[queue.Queues] = None,
    *,
    saved: bool,
    ended: bool = False,
) -> bool:
    """``ended``: the job may be over already, by this very cancellation."""
    marked = alive = known = False
    try:
        with held_back(CANCELLING, patience=1):
            marked = _mark(files, host, saved=saved)
            alive = queue.cancel(files, job, host, queues)
            known = True
        return alive
    except KeyboardInterrupt:
        if known and not alive:
            raise
        alive = True  # it may have been asked to end by now
        raise Interrupted(
            f"interrupted: {files.root}: its job was {'cancelled' if known else 'asked to end'}",
            f"see whether it has ended: python bundle.py status {shell_word(files.root)}",
        ) from None
    finally:
        if marked and not alive and not (ended and saved):
            files.cancelled.unlink(missing_ok=True)


def _mark(files: RunFiles, host: HostContext, *, saved: bool) -> bool:
    """Whether it could be written and was not there before: a full disk keeps no job alive."""
    if files.cancelled.exists():
        return False
    mark = Cancellation(by=host.user, host=host.hostname, at=host.timestamp(), saved=saved)
    try:
        atomic.write_json(files.cancelled, mark.model_dump(mode="json"))
    except OSError:
        return False
    return True


def _running(files: RunFiles, job: Job, host: HostContext) -> Optional[str]:
    """The id of the run's job that runs now."""
    backend = backend_named(job.backend)
    if not isinstance(backend, Scheduler):
        return job.id if local.is_alive(job.id) else None
    entry = queue.Queues(host).entry(job)
    if entry.state == "unknown":
        raise Trouble(f"{files.root}: {entry.why}: nothing was cancelled", "see: status")
    return (entry.job or job.id) if entry.state == "running" else None


def _ask_to_save(files: RunFiles, job: Job, running: str, host: HostContext) -> None:
    backend = backend_named(job.backend)
    if not isinstance(backend, Scheduler):
        try:
            local.warn_leader(job.id)
        except PermissionError as error:
            raise queue.another_accounts(files, job) from error
        return
    queues = queue.Queues(host)
    waiting = [name for name, entry in queues.entries(job) or [] if entry.state == "queued"]
    place = queues.place(job, backend)
    asked: List[List[str]] = []
    if waiting:
        asked.append(backend.cancel(waiting[::-1], job.cluster))
    asked.append(backend.warn(running, job.cluster))
    for argv in asked:
        try:
            questions.ask(place, argv, host, questions.PATIENCE)
        except CommandFailed as error:
            said = error.stderr_tail or error.reason
            raise Trouble(
                f"{files.root}: {backend.title} did not do it: {said}",
                f"to end it without a checkpoint: python bundle.py cancel {shell_word(files.root)}",
            ) from error
