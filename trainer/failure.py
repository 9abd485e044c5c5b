"""The end of a run that cannot go on: one message, ``failure.json``, and every rank ended."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from pathlib import Path
from typing import Sequence

from manifests.record.mounts import RUN_MOUNT
from manifests.record.outcome import Failure
from manifests.record.run_files import RunFiles
from trainer.files import json_bytes, write_first
from trainer.gpu.failure import GpuFailed
from trainer.node_fault import node_fault
from trainer.trouble import CannotPromise, TrainerError, named, rank_of, step_of

BUG_EXIT_CODE = 1


def describe(error: BaseException, rank: int) -> Failure:
    known = error if isinstance(error, TrainerError) else node_fault(error)
    if known is not None:
        return Failure(
            rank=rank,
            step=step_of(error),
            message=known.message,
            next_step=known.next_step,
            exit_code=known.exit_code,
            cannot_promise=isinstance(known, CannotPromise),
        )
    return Failure(
        rank=rank,
        step=step_of(error),
        message=f"the trainer has a fault: {named(error)}",
        next_step="report it with the traceback in the run's logs",
        exit_code=BUG_EXIT_CODE,
    )


def report(error: BaseException, rank: int, files: RunFiles) -> int:
    """Record and print the failure; return the exit code.

    The first rank to fail writes ``failure.json``; ranks that fail of the same say nothing more.
    That mpirun was killed is not a failure of the run: the next job goes on from its checkpoint.
    """
    failure = describe(error, rank_of(error, rank))
    if _nobody_listens(error):
        return failure.exit_code
    if not _told_already(failure, files):
        where = f"rank {failure.rank}" + (f", step {failure.step}" if failure.step else "")
        text = f"{where}: {failure.message}\n-> {failure.next_step}\n"
        if not isinstance(error, TrainerError) or isinstance(error, GpuFailed):
            text = "".join(traceback.format_exception(error)) + text
        sys.stderr.write(text)
    return failure.exit_code


def report_before_main(error: BaseException, argv: Sequence[str]) -> int:
    """The same of a part of the trainer that cannot be imported: nobody has read the words yet."""
    from trainer.ranks import rank_now

    run = argv[argv.index("--run") + 1] if "--run" in argv[:-1] else RUN_MOUNT
    return report(error, rank_now(os.environ), RunFiles(Path(run)))


def _nobody_listens(error: BaseException) -> bool:
    """Whether a rank fails because what it prints has no reader any more: mpirun is gone."""
    if not isinstance(error, OSError) or error.errno not in (errno.EIO, errno.EPIPE):
        return False
    try:
        print(flush=True)
    except OSError:
        return True
    return False


def _told_already(failure: Failure, files: RunFiles) -> bool:
    try:
        if write_first(files.failure, json_bytes(failure.model_dump(mode="json"))):
            return False
        first = Failure.model_validate_json(files.failure.read_bytes())
    # A run directory that is missing, full or read-only must not hide the failure itself.
    except (TrainerError, OSError, ValueError):
        return False
    return first.message == failure.message
