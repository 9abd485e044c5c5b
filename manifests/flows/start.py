"""Start the job of a run that is written."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import List, Optional

from container import atomic
from jobtemplates.schedulers import backend_named
from manifests.host.context import HostContext
from manifests.record.run_files import temporaries
from manifests.record.schema import Placement, RunFiles
from manifests.rundir import queue
from manifests.rundir.job import Job, read_job
from manifests.rundir.queue import Refused
from manifests.rundir.records import read_manifest


def start_new(files: RunFiles, host: HostContext, follow_ups: int = 0) -> Job:
    """Start a run that was just written; where the scheduler refuses its job, it is gone again."""
    try:
        return start_run(files, host, follow_ups)
    except Refused:
        shutil.rmtree(files.root)
        raise


def start_run(
    files: RunFiles,
    host: HostContext,
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
    sweep(files)
    if not backend_named(placement.scheduler).runs_here:
        # Until job.json is there: a job may be in the queue of which no file tells.
        atomic.write_bytes(files.submitting, f"{placement.jobname}\n".encode())
    try:
        job = queue.start(files, placement, host, follow_ups)
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


def sweep(files: RunFiles) -> None:
    """Remove what an earlier job of the run was writing when it was killed; none lives now.

    The trainer does so too, but that of an old snapshot removes checkpoints only.
    """
    for target in files.of_any_job:
        for left in temporaries(target):
            left.unlink(missing_ok=True)
