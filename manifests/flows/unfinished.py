"""Why a run has no result, and what to do next"""

from __future__ import annotations

from typing import Tuple

from container.shell_word import shell_word
from manifests.flows.cannot_run import CannotRun
from manifests.host.context import HostContext
from manifests.record.run_files import RunFiles
from manifests.rundir.directory import state_of
from manifests.rundir.queue import Queues
from manifests.rundir.records import Warn

#: State of a run without a result -> what it is, and what to do.
UNFINISHED = {
    "prepared": ("was never started", "start it: python bundle.py resume {run}"),
    "queued": ("waits in its queue", "wait for its end: python bundle.py logs -f {run}"),
    "running": ("is still running", "wait for its end: python bundle.py logs -f {run}"),
    "stopped": ("stopped at a checkpoint", "resume it: python bundle.py resume {run}"),
    "cancelled": ("was cancelled", "resume it: python bundle.py resume {run}"),
    "failed": ("failed", "see why: python bundle.py show {run}"),
}


def refuse_unfinished(files: RunFiles, host: HostContext, warn: Warn) -> None:
    """Raise CannotRun unless the run has its result."""
    if files.done.exists():
        return
    what, step = why_unfinished(files, host, warn)
    raise CannotRun(f"{files.root}: {what}: there is nothing to compare with", step)


def why_unfinished(files: RunFiles, host: HostContext, warn: Warn) -> Tuple[str, str]:
    """Why a run has no result, and what to do next."""
    state, why, _ = state_of(files, Queues(host), warn)
    what, step = UNFINISHED.get(state, (f"is {state}{f': {why}' if why else ''}", ""))
    return what, step.format(run=shell_word(files.root)) or "see where it was submitted: status"
