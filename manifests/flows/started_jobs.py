"""The jobs that an interrupted command started: ended, or named where they may go on"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, List, Sequence, Tuple

from container.trouble import Trouble
from jobtemplates.schedulers import backend_named
from manifests.flows.cancel import Interrupted, cancel_run
from manifests.flows.follow import job_now
from manifests.host.context import HostContext
from manifests.record.run_files import RunFiles
from manifests.rundir.job import Job, read_job
from manifests.rundir.queue import Queues


@dataclass(frozen=True)
class Living:
    """A job that goes on, or may: then why it was not ended."""

    files: RunFiles
    job: Job
    why: str = ""


def end_jobs(
    runs: Sequence[RunFiles], host: HostContext, begin: Callable[[], None] = lambda: None
) -> Tuple[int, List[Living]]:
    """Cancel the jobs of these runs that have not ended. How many were, and those that were not.

    An interrupt leaves the rest as they are. ``begin`` is called before the first is cancelled.
    """
    queues = Queues(host)
    ended, living = 0, []
    left = _started(runs)
    try:
        left = [one for one in left if job_now(one[0], host, queues) is not None]
        if left:
            begin()
        while left:
            files, job = left[0]
            try:
                ended += cancel_run(files, host, queues)
            except Interrupted:
                living.append(Living(files, job, "it was asked to end"))
                left = left[1:]
                break
            except Trouble as error:
                living.append(Living(files, job, error.problems[0]))
            left = left[1:]
    except KeyboardInterrupt:
        pass
    return ended, [*living, *(Living(files, job, "it was not cancelled") for files, job in left)]


def living_jobs(runs: Sequence[RunFiles], host: HostContext) -> List[Living]:
    """Jobs of these runs that may go on. No scheduler is asked: whoever asks is to end at once."""
    return [
        Living(files, job)
        for files, job in _started(runs)
        if not backend_named(job.backend).runs_here or job_now(files, host) is not None
    ]


def _started(runs: Sequence[RunFiles]) -> List[Tuple[RunFiles, Job]]:
    jobs = [(files, read_job(files)) for files in runs if not files.done.exists()]
    return [(files, job) for files, job in jobs if job is not None]
