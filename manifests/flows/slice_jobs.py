"""The jobs of slices: tasks of one array where the scheduler has arrays, else a job each"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Dict, List, Optional, Sequence

from container import atomic
from container.shell_word import shell_word
from container.trouble import Trouble
from container.unpacked import remove_left_behind
from jobtemplates.array_script import render_array
from jobtemplates.backend import Scheduler
from jobtemplates.schedulers import backend_named
from jobtemplates.sites import load_site, profile_folders
from manifests.flows.cancel import cancel_run
from manifests.flows.start import SUBMITTING, start_run, sweep_run, unwritable
from manifests.host.context import HostContext
from manifests.host.interrupts import held_back
from manifests.record.run_files import RunFiles
from manifests.record.schema import Placement
from manifests.record.slice_set import ArrayFiles, SetFiles
from manifests.rundir import submission
from manifests.rundir.directory import create_run
from manifests.rundir.job import Job
from manifests.rundir.records import Warn, ignore, read_manifest
from manifests.rundir.submission import Handed, Refused


def array_script(
    scripts: Sequence[str], placement: Placement, host: HostContext, array: ArrayFiles
) -> Optional[str]:
    """The script of an array of jobs with these scripts; None where each is a job of its own."""
    backend = backend_named(placement.scheduler)
    if not isinstance(backend, Scheduler) or len(scripts) < 2:
        return None
    if not load_site(placement.site, profile_folders(host.environ)).arrays:
        return None
    return render_array(scripts, backend, array.root)


def start_slices(
    slices: Sequence[RunFiles],
    files: SetFiles,
    host: HostContext,
    go_on: Sequence[str],
    warn: Warn = ignore,
) -> List[Job]:
    """Start the jobs of slices that never had one: all of them or none. ``go_on``: the words after
    `bundle.py` that go on with them.

    Raises Refused where none is started, Trouble where that is not known.
    """
    scripts = [one.job_script.read_text(encoding="utf-8") for one in slices]
    placement = read_manifest(slices[0]).circumstance.placement
    array = files.new_array()
    script = array_script(scripts, placement, host, array)
    if script is None:
        return _start_each(slices, host, warn)
    handed = Handed(array.script, placement, go_on, is_array=True)
    remove_left_behind(host.environ)
    with held_back(SUBMITTING):
        return _start_array(slices, handed, script, array, host, warn)


def _start_each(slices: Sequence[RunFiles], host: HostContext, warn: Warn) -> List[Job]:
    jobs: List[Job] = []
    heard: Dict[str, None] = {}  # each is said once, in order
    try:
        for one in slices:
            jobs.append(start_run(one, host, warn=heard.setdefault))
    except Trouble:
        for started in slices[: len(jobs)]:
            cancel_run(started, host)
        raise
    for text in heard:
        warn(text)
    return jobs


def _start_array(
    slices: Sequence[RunFiles],
    handed: Handed,
    script: str,
    array: ArrayFiles,
    host: HostContext,
    warn: Warn,
) -> List[Job]:
    try:
        try:
            _write(array, script, slices)
            for task, one in enumerate(slices, 1):
                one.logs.mkdir(exist_ok=True)
                sweep_run(one)
                folder = str(array.root)
                submission.note_submitting(one, handed.placement, host, folder, task)
        except OSError as error:
            raise unwritable(error, slices[0]) from error
        jobs = submission.start_array(handed, len(slices), host, warn)
        _record(slices, jobs, host)
    except Refused:
        for one in slices:
            one.submitting.unlink(missing_ok=True)
        shutil.rmtree(array.root, ignore_errors=True)
        raise
    for one in slices:
        one.submitting.unlink(missing_ok=True)
    return jobs


def _write(array: ArrayFiles, script: str, slices: Sequence[RunFiles]) -> None:
    """The array's folder, with a link to each slice by the number of its task."""

    def fill(files: RunFiles) -> None:
        made = ArrayFiles(files.root)
        atomic.write_bytes(made.script, script.encode("utf-8"))
        for task, one in enumerate(slices, 1):
            made.task(task).symlink_to(Path("..") / one.root.name)

    create_run(array.root.parent, array.root.name, fill)


def _record(slices: Sequence[RunFiles], jobs: Sequence[Job], host: HostContext) -> None:
    """Write each job.json. Raises Refused where one cannot be written and all jobs were ended."""
    try:
        for one, job in zip(slices, jobs):
            atomic.write_json(one.job, job.model_dump(mode="json"))
    except OSError as error:
        ids = ", ".join(job.id for job in jobs)
        if submission.take_back(jobs, host):
            for one in slices:
                one.job.unlink(missing_ok=True)
            raise unwritable(error, slices[0], f"; the jobs {ids} were cancelled") from error
        raise Trouble(
            f"{error.filename}: cannot be written: {error.strerror}; jobs {ids} were started",
            f"end them, free some space, then remove {shell_word(slices[0].root.parent)}",
        ) from error
