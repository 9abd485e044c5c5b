"""The log files of a run's jobs."""

from __future__ import annotations

from pathlib import Path
from typing import List

from container.reachable import file_here
from jobtemplates.backend import job_number
from jobtemplates.script import log_name
from manifests.record.run_files import RunFiles
from manifests.rundir.job import read_job
from manifests.rundir.records import read_manifest


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
    return next((log for log in reversed(logs) if file_here(log)), logs[0])
