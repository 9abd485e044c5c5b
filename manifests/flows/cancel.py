"""End the job of a run."""

from __future__ import annotations

from container.trouble import Trouble
from jobtemplates.schedulers import backend_named
from manifests.host.context import HostContext
from manifests.record.run_files import RunFiles
from manifests.rundir import queue
from manifests.rundir.job import read_job, read_submitting


def cancel_run(files: RunFiles, host: HostContext) -> bool:
    """End the run's job; False when it had ended before. Raises Trouble when it is not ours."""
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
    return queue.cancel(files, job, host)
