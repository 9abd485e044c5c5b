"""Why a run's job failed or stopped, and what to do next."""

from __future__ import annotations

import signal

from jobtemplates.script import quoted
from manifests.record.checkpoint import checkpoints_in
from manifests.record.schema import RUN_MOUNT, RunFiles
from manifests.rundir.job_logs import log_of
from manifests.rundir.records import read_failure, read_stop
from manifests.rundir.run_state import left_exit_code


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
