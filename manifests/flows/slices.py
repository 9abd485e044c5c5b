"""A run divided into slices: which ones, planned all at once, and written into one folder"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional, Sequence

from container import atomic
from container.shell_word import shell_word
from container.trouble import Trouble
from manifests.flows.cannot_run import CannotRun
from manifests.flows.plan import Plan, write_run
from manifests.flows.rerun import RerunRequest, plan_rerun
from manifests.flows.slice_jobs import array_script
from manifests.flows.slice_plan import SLICE_CODE, can_end, refuse_beyond_slice, whole_record
from manifests.flows.unfinished import refuse_unfinished
from manifests.host.context import HostContext
from manifests.record.checkpoint_names import step_of
from manifests.record.communicators import counted
from manifests.record.run_files import RunFiles
from manifests.record.slice_set import (
    SetFiles,
    SliceOptions,
    SliceSet,
    Steps,
    drawn,
    even_cuts,
    slices_between,
)
from manifests.rundir.directory import create_run, find_run, run_name
from manifests.rundir.present_states import present_states
from manifests.rundir.records import Warn, ignore, read_manifest


@dataclass(frozen=True)
class SetPlan:
    """What is decided of a folder of slices before anything is written."""

    files: SetFiles
    record: SliceSet
    plans: List[Plan]

    @property
    def warnings(self) -> List[str]:
        return list(dict.fromkeys(text for plan in self.plans for text in plan.warnings))

    @property
    def notes(self) -> List[str]:
        return list(dict.fromkeys(text for plan in self.plans for text in plan.notes))

    def array_script(self, host: HostContext) -> Optional[str]:
        """The script with which all slices are submitted at once; None where each is a job of its
        own."""
        scripts, placement = [plan.script for plan in self.plans], self.plans[0].placement
        return array_script(scripts, placement, host, self.files.new_array())


def plan_slices(
    run: Path,
    host: HostContext,
    options: SliceOptions,
    *,
    count: Optional[int] = None,
    sample: Optional[int] = None,
    seed: Optional[str] = None,
    out: Optional[Path] = None,
    read_only: bool = False,
    warn: Warn = ignore,
) -> SetPlan:
    """Divide a finished run into ``count`` slices, or draw ``sample`` of all those that its states
    allow.

    Raises CannotRun where the run has too few states, or a slice of it cannot be run.
    """
    old = find_run(str(run))
    manifest = read_manifest(old, warn)
    refuse_unfinished(old, host, warn)
    refuse_beyond_slice(old, manifest, 0, manifest.identity.steps)
    if not can_end(manifest):
        raise CannotRun(
            f"{old.root}: cannot be checked by slices: the trainer in its snapshot is from before "
            f"that was possible (its code has no {SLICE_CODE})",
            f"run all of it again: python bundle.py rerun {shell_word(old.root)}",
        )
    root = None if (result := whole_record(old, warn).result) is None else result.root
    steps = manifest.identity.steps
    states = [s for s in map(step_of, present_states(old)) if s and s < steps]
    chosen = slices_between(states, steps)
    if sample is not None:
        refuse_sample(old, sample, len(chosen), root)
        assert root is not None and seed is not None
        wanted = [chosen[k] for k in drawn(root, seed, len(chosen), sample)]
    else:
        cuts = cuts_for(old, 1 if count is None else count, steps, states)
        chosen = wanted = slices_between(cuts, steps)
    created = host.now()
    name = run_name(manifest.circumstance.placement.jobname, created, manifest.identity_digest)
    folder = (out or old.root.parent).resolve() / f"{name}-slices"
    record = SliceSet(
        run=str(old.root),
        identity_digest=manifest.identity_digest,
        root=root,
        steps=steps,
        slices=wanted,
        of=len(chosen),
        seed=seed if sample is not None else None,
        options=options,
        created=host.timestamp(),
    )
    plans = [planned_slice(old.root, host, record, one, folder, read_only, warn) for one in wanted]
    return SetPlan(SetFiles(folder), record, plans)


def planned_slice(
    run: Path,
    host: HostContext,
    record: SliceSet,
    steps: Steps,
    folder: Path,
    read_only: bool,
    warn: Warn,
) -> Plan:
    options = record.options.model_dump()
    request = RerunRequest(**options, out=folder, steps=steps, read_only=read_only)
    return plan_rerun(run, host, request, warn)


def cuts_for(old: RunFiles, count: int, steps: int, states: Sequence[int]) -> List[int]:
    """Raises CannotRun where the run has too few states for so many slices."""
    if count < 1:
        raise Trouble(f"--slices {count}: expected at least 1", "give a number of slices")
    cuts = even_cuts(steps, count, states)
    if cuts is None:
        have = len(states)
        raise CannotRun(
            f"{old.root}: --slices {count}: {count - 1} states are needed, the run has {have}",
            f"use at most {have + 1} slices; new runs keep states with checkpoint_archive",
        )
    return cuts


def refuse_sample(old: RunFiles, sample: int, there_are: int, root: Optional[str]) -> None:
    """Raise CannotRun where so many slices cannot be drawn."""
    if not 1 <= sample <= there_are:
        raise CannotRun(
            f"{old.root}: --sample {sample}: the states of the run divide it into "
            f"{counted(there_are, 'slice')}: expected 1 to {there_are}",
            "new runs keep states with checkpoint_archive",
        )
    if root is None:
        raise CannotRun(
            f"{old.root}: --sample: result.json has no root: the draw could have been known before",
            "check all of it: --slices",
        )


def write_slices(plan: SetPlan) -> SetFiles:
    """Make the folder and the run directories in it. A folder without all of them can be gathered:
    what is missing is planned again."""
    root = plan.files.root

    def fill(files: RunFiles) -> None:
        atomic.write_json(SetFiles(files.root).plan, plan.record.model_dump(mode="json"))

    made = create_run(root.parent, root.name, fill)
    for one in plan.plans:
        write_run(one)
    return SetFiles(made.root)
