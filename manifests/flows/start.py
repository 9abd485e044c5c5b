"""Start the job of a run that is written."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any, Dict, List, Optional

from container import atomic
from container.digest import sha256_of_file
from container.shell_word import shell_word
from container.trouble import Trouble
from container.unpacked import remove_left_behind
from manifests.host.context import HostContext
from manifests.host.interrupts import held_back
from manifests.record.run_files import RunFiles, temporaries
from manifests.record.schema import Placement
from manifests.rundir import submission
from manifests.rundir.job import Job, read_job
from manifests.rundir.records import Warn, ignore, read_manifest
from manifests.rundir.submission import Refused

#: Between a scheduler's answer and job.json nothing names the job.
SUBMITTING = "it ends when the job that is being submitted is recorded"


def start_new(files: RunFiles, host: HostContext, follow_ups: int = 0, warn: Warn = ignore) -> Job:
    """Start a run that was just written; where no job of it was started, it is gone again."""
    try:
        return start_run(files, host, follow_ups, warn=warn)
    except (Refused, KeyboardInterrupt):
        if not files.job.exists() and not files.submitting.exists():
            shutil.rmtree(files.root)
        raise


def start_run(
    files: RunFiles,
    host: HostContext,
    follow_ups: int = 0,
    placement: Optional[Placement] = None,
    warn: Warn = ignore,
) -> Job:
    """Hand the job script to the backend and record what it is called there.

    ``placement`` goes before the manifest's, as far as a written job script lets it: its words for
    the command line. ``warn`` gets what the scheduler says of a job that it takes.

    Raises Refused, with everything as it was, when no job was started, or it was ended again
    because it could not be recorded; Trouble when that is not known.
    """
    remove_left_behind(host.environ)
    placement = placement or read_manifest(files).circumstance.placement
    with held_back(SUBMITTING):
        return _start(files, host, follow_ups, placement, warn)


def _start(
    files: RunFiles, host: HostContext, follow_ups: int, placement: Placement, warn: Warn
) -> Job:
    before = read_job(files)
    aside: Dict[Path, Path] = {}
    try:
        try:
            files.logs.mkdir(exist_ok=True)  # Slurm starts no job whose log it cannot write
            sweep_run(files)
            aside = set_aside(files)
            submission.note_submitting(files, placement, host)
        except OSError as error:
            raise unwritable(error, files) from error
        job = submission.start(files, placement, host, follow_ups, warn)
        job = job.model_copy(
            update={
                "earlier": [*before.earlier, *before.ids] if before else [],
                **other_script(files, placement),
            }
        )
        record(files, job, host)
    except Refused:
        for mark, kept in aside.items():
            kept.replace(mark)
        files.submitting.unlink(missing_ok=True)
        raise
    for kept in aside.values():
        kept.unlink()
    files.submitting.unlink(missing_ok=True)
    return job


def other_script(files: RunFiles, placement: Placement) -> Dict[str, Any]:
    """What job.json says of a job whose script is not the one that the manifest names."""
    if files.job_script == RunFiles(files.root).job_script:
        return {}
    return {
        "processes": placement.processes,
        "nodes": placement.nodes,
        "script": files.job_script.name,
        "script_sha256": sha256_of_file(files.job_script),
    }


def record(files: RunFiles, job: Job, host: HostContext) -> None:
    """Write job.json. Raises Refused where it cannot be written and the job was ended again."""
    try:
        atomic.write_json(files.job, job.model_dump(mode="json"))
    except OSError as error:
        if submission.take_back([job], host):
            raise unwritable(error, files, f"; its job {job.id} was cancelled") from error
        raise Trouble(
            f"{files.job}: cannot be written: {error.strerror}; job {job.id} was started",
            f"end job {job.id}, free some space, then: "
            f"python bundle.py resume {shell_word(files.root)}",
        ) from error


def unwritable(error: OSError, files: RunFiles, more: str = "") -> Refused:
    return Refused(
        f"{error.filename or files.root}: cannot be written: {error.strerror}{more}",
        "free some space or get the right to write there, then try again",
    )


def set_aside(files: RunFiles) -> Dict[Path, Path]:
    """Marks of an earlier job, where each is kept until the new one is started. The new job would
    take them for its own and end at once. Renaming needs no room on a full disk."""
    aside: Dict[Path, Path] = {}
    for mark in marks_of(files):
        kept = kept_as(mark)
        with suppress(FileNotFoundError):
            mark.replace(kept)
            aside[mark] = kept
    return aside


def sweep_run(files: RunFiles) -> None:
    """Remove what an earlier job or start of the run left when it was killed; none lives now.

    The trainer does so too, but that of an old snapshot removes checkpoints only.
    """
    for target in files.of_any_job:
        for left in temporaries(target):
            left.unlink(missing_ok=True)
    for mark in marks_of(files):
        kept_as(mark).unlink(missing_ok=True)


def marks_of(files: RunFiles) -> List[Path]:
    return [
        files.exit_code, files.failure, files.interrupted, files.stopped, files.cancelled,
    ]  # fmt: skip


def kept_as(mark: Path) -> Path:
    return mark.with_name(f".{mark.name}.earlier")
