"""verify: a run as it is now against its manifest; of one that has not ended, what is there"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Dict, List, Optional

from container.shell_word import shell_word
from manifests.flows.part_of_run import needed_of
from manifests.flows.recorded_data import data_here, restore_step
from manifests.flows.statement_check import (
    StatementCheck,
    check_statements,
    statement_files,
)
from manifests.host.context import HostContext
from manifests.host.image_source import find_image_of_run
from manifests.host.ssh_signature import has_ssh_keygen
from manifests.record.run_files import RunFiles
from manifests.rundir.directory import find_run, state_of
from manifests.rundir.export_head import held_steps
from manifests.rundir.queue import Queues
from manifests.rundir.records import Warn, ignore, read_manifest
from manifests.rundir.rerun_command import rerun_command
from manifests.rundir.run_state import State
from manifests.rundir.verify import verify_run

#: What these have still to leave is not held against them.
UNDER_WAY = {
    "prepared": "was never started",
    "queued": "waits in its queue",
    "running": "is running",
    "stopped": "stopped at a checkpoint, to be resumed",
    "cancelled": "was cancelled, and can be resumed",
    "unknown": "may be under way: the state of its job is not known here",
}


@dataclass(frozen=True)
class Verified:
    """``problems`` are all mismatches, those of the statements too; ``next_step`` is "" where
    nothing is to be done."""

    run: Path
    state: State
    problems: List[str]
    next_step: str
    statements: List[StatementCheck] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The sentence at the end."""
        count = len(self.problems)
        found = f"{count} mismatch{'es' if count != 1 else ''}"
        under_way = UNDER_WAY.get(self.state)
        if under_way is None:
            return found if self.problems else "verified: nothing differs"
        if self.problems:
            return f"{found} so far; the run {under_way}"
        return f"the run {under_way}; what can be checked so far is right, a result is not there"


#: What comes next where nothing differs.
NEXT = {
    "done": "to make its bits again: {rerun}",
    "prepared": "python bundle.py resume {run}",
    "running": "python bundle.py logs -f {run}",
    "queued": "python bundle.py logs -f {run}",
    "stopped": "python bundle.py resume {run}",
    "cancelled": "python bundle.py resume {run}",
}


def verify_whole(
    run: Path,
    host: HostContext,
    *,
    moved: Dict[str, str],
    check_data: bool,
    signers: Optional[Path] = None,
    warn: Warn = ignore,
) -> Verified:
    """Every mismatch between a run directory, its image, its data and its manifest, and all that is
    wrong with its statements.

    The result is looked at only where the run has ended. Without ``signers`` a statement may be of
    any key. Raises Trouble when the manifest or the file of signers cannot be read.
    """
    files = find_run(str(run))
    statements = _checked_statements(files, host, signers, warn)
    manifest = read_manifest(files)
    state, _, _ = state_of(files, Queues(host, warn))
    circumstance = data_here(files, manifest.circumstance, moved)
    found = verify_run(
        files,
        image_path=lambda _identity: find_image_of_run(manifest, host, files),
        progress=host.progress,
        check_data=check_data,
        ended=state not in UNDER_WAY,
        circumstance=circumstance,
        cache_folder=host.fingerprints(),
        needed=needed_of(files, manifest, warn),
        whole=held_steps(files) is None,
        warn=warn,
    )
    found = replace(
        found, statements=[problem for check in statements for problem in check.problems]
    )
    rerun = rerun_command(files, manifest, moved)
    step = (
        found.next_step(files, state, rerun=rerun, restore_data=restore_step(circumstance))
        if found.all
        else NEXT.get(state, "").format(run=shell_word(files.root), rerun=rerun)
    )
    return Verified(files.root, state, found.all, step, statements)


def _checked_statements(
    files: RunFiles, host: HostContext, signers: Optional[Path], warn: Warn
) -> List[StatementCheck]:
    """A run can be verified where ssh-keygen is not there, unless its signers are asked for."""
    found = statement_files(files)
    if found and signers is None and not has_ssh_keygen(host.environ):
        warn(f"{files.statements}: not checked: ssh-keygen is not here")
        return []
    return check_statements(files, host.environ, signers)
