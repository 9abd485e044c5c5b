"""Why a run's job failed or stopped, and what to do next."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import List, Optional, Sequence

from container.shell_word import shell_word
from manifests.host.context import HostContext
from manifests.host.git_checkout import as_committed
from manifests.record.mounts import CODE_MOUNT, RUN_MOUNT
from manifests.record.run_files import RunFiles
from manifests.rundir.cancellation import read_cancellation
from manifests.rundir.directory import state_of
from manifests.rundir.job_logs import log_of
from manifests.rundir.present_states import present_states
from manifests.rundir.queue import Queues
from manifests.rundir.records import Warn, ignore, read_failure, read_manifest, read_stop
from manifests.rundir.rerun_command import rerun_command
from manifests.rundir.run_state import left_exit_code

#: The checkout that this code belongs to.
PROJECT = Path(__file__).resolve().parents[2]

#: Lines at the end of standard error that are shown, and in which a launcher's report may be.
SHOWN = 20
LAST_WORDS = 5
LOOKED_AT = 40

#: With which code the job script refuses (scripts/body.sh.j2), and how it ends where it knows
#: nothing: then the lines above tell more.
REFUSED = 2
WORDLESS = "bundle: the ranks ended with status "

#: A launcher's report that is not on a rank which ended: between two rules of dashes.
COMPLAINT = re.compile(r"^-{40,}\n(?!Primary job  terminated|-{40,})", re.MULTILINE)


def explain_failure(files: RunFiles, log: Optional[Path] = None, ended: str = "") -> str:
    """Why a job did not finish its run: it stopped in time, or what the first failing rank said,
    or how it was ``ended`` where that is known of a job that left no code, or the end of its
    standard error (``log`` where the run has no manifest to name it); and whether there is a
    checkpoint to go on from."""
    stopped = read_stop(files)
    if stopped is not None:
        why = {"signal": "a warning signal came", "walltime": "the walltime was nearly over"}
        return (
            f"stopped after step {stopped.step} of {stopped.steps}: {why[stopped.reason]}\n"
            f"-> {go_on(files)}"
        )
    if ended and read_failure(files) is None:
        return f"{ended}\n-> see {files.logs}; to go on: {go_on(files)}"
    lines = [why_failed(files, log)]
    if present_states(files):
        lines.append(f"-> after fixing the cause: {go_on(files)}")
    return "\n".join(lines)


def ended_text(files: RunFiles, host: HostContext, warn: Warn = ignore) -> str:
    """How a run stands whose job is over, and what to do next."""
    state, why, _ = state_of(files, Queues(host), warn)
    if state == "done":
        again = rerun_command(files, read_manifest(files))
        return f"done\n-> to make its bits again: {again}"
    if state in ("failed", "stopped"):
        return explain_failure(files, ended=why)
    cancelled = read_cancellation(files)
    if state == "cancelled" and cancelled is not None:
        return f"{cancelled.text}\n-> to go on: {go_on(files)}"
    return f"{state}{f': {why}' if why else ''}"


def go_on(files: RunFiles) -> str:
    return f"python bundle.py resume {shell_word(files.root)}"


def why_failed(files: RunFiles, log: Optional[Path] = None) -> str:
    failure = read_failure(files)
    if failure is not None:
        own = own_code_at_fault(files, failure.message, log)
        step = "" if failure.step is None else f", step {failure.step}"
        text = f"rank {failure.rank}{step}: {failure.message}\n-> {own or failure.next_step}"
        return text.replace(f"{RUN_MOUNT}/", f"{files.root}/")  # what the ranks call it
    log = log or log_of(files, "stderr")
    said = log.read_text(errors="replace").splitlines() if log.is_file() else []
    code = left_exit_code(files) or 0
    refused = refusal_in(said) if code == REFUSED else []
    if refused:
        return "\n".join(refused)
    name = signal_of(code, "\n".join(said[-LOOKED_AT:]))
    why = " (often: no memory was left)" if name == "SIGKILL" else ""
    first = (
        f"the job failed: a rank was ended by {name}{why}"
        if name
        else "the job failed; the end of its standard error:"
    )
    return "\n".join([first, *said[-SHOWN:], f"-> see {files.logs}"])


#: How the message of a rank begins that met a fault in the code.
FAULT = "the trainer has a fault: "
_FRAME = re.compile(rf'File "{CODE_MOUNT}/([^"]+)", line (\d+)')


def own_code_at_fault(files: RunFiles, message: str, log: Optional[Path]) -> str:
    """What to do about a fault in a file that is not as it was committed; "" where it is, or
    nothing is known of it. The last line of code in the log's last traceback is where it happened.
    """
    log = log or log_of(files, "stderr")
    if not message.startswith(FAULT) or not log.is_file():
        return ""
    places = _FRAME.findall(log.read_text(errors="replace"))
    git = read_manifest(files).circumstance.git if places else None
    if git is None or git.commit is None:
        return ""
    name, line = places[-1]
    try:
        data = (files.code / name).read_bytes()
    except OSError:
        return ""
    if as_committed(PROJECT, git.commit, name, data) is not False:
        return ""
    return (
        f"{name}, line {line}: this file is not that of commit {git.commit[:12]}: "
        "correct it and submit again"
    )


def refusal_in(said: Sequence[str]) -> List[str]:
    """What the job script refused at its end, and its next step; empty where it refused nothing.

    Earlier jobs of the run may have written into the same log.
    """
    for number in range(len(said) - 2, max(-1, len(said) - LAST_WORDS), -1):
        if said[number].startswith(WORDLESS):
            return []
        if said[number].startswith("bundle: ") and said[number + 1].startswith("-> "):
            return [said[number][len("bundle: ") :], said[number + 1]]
    return []


def signal_of(code: int, said: str) -> str:
    """The name of the signal that ended a rank, or "".

    Launchers say so themselves, unless they are to be quiet. Their other complaints come with
    statuses of their own, which may be above 128 too.
    """
    reported = [int(text) for text in re.findall(r"exited\s+on\s+signal\s+(\d+)", said)]
    left = [int(text) - 128 for text in re.findall(r"Exit code:\s+(\d+)", said)]
    if not reported and not left and not COMPLAINT.search(said):
        left = [code - 128]
    known = {number.value for number in signal.Signals}
    names = [signal.Signals(number).name for number in (*reported, *left) if number in known]
    return names[0] if code > 128 and names else ""
