"""Runs that are done and have a given identity: what somebody is about to run may be there"""

from __future__ import annotations

from pathlib import Path
from typing import Iterable, Optional

from manifests.record.run_files import RunFiles
from manifests.rundir.run_names import (
    identity_in_manifest,
    known_runs,
    parse_run_name,
    renamed_runs,
)
from manifests.rundir.run_state import left_exit_code, present_names, run_state


def done_run(identity_digest: str, outs: Iterable[Path]) -> Optional[Path]:
    """The newest run below ``outs`` that is done and has this identity; else one that was given
    another name, which does not tell its time."""
    outs = list(outs)
    named = [run for run in reversed(known_runs(outs)) if _may_have(run, identity_digest)]
    for run in [*named, *renamed_runs(outs)]:
        files = RunFiles(run)
        present = present_names(files)
        code = left_exit_code(files)
        done = run_state(present, code, "unknown") == "done"
        if done and identity_in_manifest(run) == identity_digest:
            return run
    return None


def _may_have(run: Path, identity_digest: str) -> bool:
    name = parse_run_name(run.name)
    return name is not None and identity_digest.startswith(name.identity)
