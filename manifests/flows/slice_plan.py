"""Some steps of a run: with which state they begin, what they need, and whether they can be run"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, FrozenSet, List, Optional, Tuple

from container import atomic
from container.trouble import Trouble
from manifests.datasets.step_images import samples_of_steps
from manifests.flows.adopted_state import adopt_state
from manifests.flows.cannot_run import CannotRun
from manifests.record import schema
from manifests.record.checkpoint import Head, Prefix, cut_records, read_head
from manifests.record.checkpoint_names import step_of
from manifests.record.run_files import RunFiles
from manifests.record.states import State, States, state_digest
from manifests.rundir.kept_states import (
    STATES_CODE,
    checkpoint_problem,
    kept_states,
    records_states,
)
from manifests.rundir.present_states import present_states
from manifests.rundir.rank_code import counted_code
from manifests.rundir.records import Warn, ignore
from manifests.rundir.rerun_command import rerun_command
from manifests.rundir.verify import Needed
from manifests.verdict.run_record import RunRecord, load_record
from manifests.verdict.span import steps_text

#: The file of a snapshot that came with slices: a trainer without it goes on to the last step.
SLICE_CODE = STATES_CODE


@dataclass(frozen=True)
class SlicePlan:
    """``state`` is the digest of the state in ``checkpoint``; both None at step 0. ``bound``: the
    run's result has that digest. ``ends``: the trainer can end where the slice ends."""

    part: schema.Slice
    steps: int
    needed: Needed
    samples: Tuple[int, int]
    ends: bool
    bound: bool = True
    checkpoint: Optional[Path] = None
    state: Optional[str] = None

    def notes(self) -> List[str]:
        """What a person is told before it starts."""
        part, (train, val) = self.part, self.samples
        used = train if self.needed.train is None else len(self.needed.train)
        texts = [
            f"steps {part.after + 1}..{part.end} of {self.steps}: {_beginning(part)}, "
            f"{part.end - part.begin} steps to run, which need {used} of {train} training images "
            f"and {'none of the' if self.needed.val is not None else 'the'} {val} validation images"
        ]
        if self.needed.train is None and part.end - part.begin < self.steps:
            texts.append("the order of samples is none that is known here: all images are needed")
        if not self.bound:
            texts.append(unbound(part.begin))
        return texts

    def circumstance(
        self, before: schema.Circumstance, traced: bool = False
    ) -> schema.Circumstance:
        """The metadata of a run of these steps: it keeps no states on its way but those that a job
        which is stopped needs. One whose last step is ``traced`` has tensor digests at each step.
        """
        saving = before.checkpointing.model_copy(update={"archive": None, "interval": None})
        update: Dict[str, Any] = {"slice": self.part, "checkpointing": saving}
        if traced:
            every = before.observing.model_copy(update={"trail_interval": 1})
            update.update({"trace": self.part.end, "observing": every})
        return before.model_copy(update=update)

    def fill(
        self, old: RunFiles, target: RunFiles, adopting: Optional[schema.Manifest] = None
    ) -> None:
        """Put the state into the new run directory, which has its code already: as one of the run
        ``adopting`` where that has another identity. An older trainer wants trail and log too."""
        if self.checkpoint is None:
            return
        target.checkpoints.mkdir(parents=True)
        copy = target.checkpoints / self.checkpoint.name
        if adopting is None:
            shutil.copyfile(self.checkpoint, copy)
        else:
            counted = counted_code(target, adopting)
            adopt_state(self.checkpoint, copy, adopting.identity, counted)
        if self.ends:
            record = States(states=[State(step=self.part.begin, state=self.state or "")])
            atomic.write_json(target.states, record.model_dump(mode="json"))
            return
        head = read_head(self.checkpoint)
        target.trail.mkdir(parents=True)
        for rank, prefix in enumerate(head.trail):
            copy_prefix(old.trail_of(rank), target.trail_of(rank), prefix)
        copy_prefix(old.log, target.log, head.log)


def _beginning(part: schema.Slice) -> str:
    if part.begin == 0:
        return "they begin with the state that follows from the seed"
    return f"they begin with the state after step {part.begin}"


def unbound(step: int) -> str:
    return (
        f"the state after step {step} is not recorded in result.json: the steps are checked from "
        "the checkpoint as it is now, the checkpoint itself is not"
    )


def plan_slice(
    old: RunFiles,
    manifest: schema.Manifest,
    after: int,
    end: Optional[int] = None,
    warn: Warn = ignore,
) -> SlicePlan:
    """Plan the steps after ``after`` up to ``end`` (None: the last) of a finished run.

    Raises Trouble for steps that the run does not have, CannotRun where its trail does not fit,
    where no state lies at or before ``after``, where that state was altered or is another run's,
    and where the trainer in its snapshot cannot end there.
    """
    steps = manifest.identity.steps
    end = steps if end is None else end
    refuse_outside(after, end, steps)
    refuse_beyond_slice(old, manifest, after, end)
    ends = can_end(manifest)
    if not ends and end < steps:
        raise CannotRun(
            f"{old.root}: steps {after + 1}..{end} cannot be run alone: the trainer in the run's "
            f"snapshot is from before that was possible (its code has no {SLICE_CODE}), "
            f"and goes on to step {steps}",
            f"end with the last step: --to-step {steps}",
        )
    record = whole_record(old, warn)
    begin, state, bound, checkpoint = 0, None, True, None
    if after > 0:
        checkpoint, head, bound = state_before(old, record, after, trail_too=not ends)
        begin, state = head.step, state_digest(head)
    identity = manifest.identity
    # The first step of the run has its record at step 0, which has no samples.
    train = samples_of_steps(identity, record.trail or [], begin, end)
    val: Optional[FrozenSet[int]] = frozenset() if ends and end < steps else None
    return SlicePlan(
        part=schema.Slice(begin=begin, after=after, end=end),
        steps=steps,
        needed=Needed(train, val),
        samples=(identity.data.train.samples, identity.data.val.samples),
        ends=ends,
        bound=bound,
        checkpoint=checkpoint,
        state=state,
    )


def refuse_outside(after: int, end: int, steps: int) -> None:
    """Raise Trouble unless these are steps of a run of so many steps."""
    problems = []
    if not 0 <= after < steps:
        problems.append(
            f"--from-step {after}: the run has {steps} steps: expected 0 to {steps - 1}"
        )
    if not 1 <= end <= steps:
        problems.append(f"--to-step {end}: the run has {steps} steps: expected 1 to {steps}")
    if not problems and after >= end:
        problems.append(f"--to-step {end}: expected more than --from-step, which is {after}")
    if problems:
        raise Trouble(problems, "the steps after --from-step up to --to-step are run again")


def refuse_beyond_slice(old: RunFiles, manifest: schema.Manifest, after: int, end: int) -> None:
    """Raise CannotRun for steps that a run did not compute because it is a slice itself: there is
    nothing of them to compare with."""
    part, steps = manifest.circumstance.slice, manifest.identity.steps
    if part is None or (part.begin <= after and end <= part.end):
        return
    raise CannotRun(
        f"{old.root}: is a slice: it has {steps_text(part.begin, part.end)} of {steps} only",
        f"run these: {rerun_command(old, manifest)}; or name the run that it is a slice of",
    )


def can_end(manifest: schema.Manifest) -> bool:
    """Whether the trainer in the run's own snapshot can end at a step before the last."""
    return records_states(manifest)


def whole_record(old: RunFiles, warn: Warn = ignore) -> RunRecord:
    """What a run left, with a trail of all its steps, a slice's of its own. Raises CannotRun for
    one that was altered or is not whole: nothing could be held against it."""
    record = load_record(old, warn)
    problems = [*record.altered, *record.faults]
    steps, part = record.manifest.identity.steps, record.manifest.circumstance.slice
    end = steps if part is None else part.end
    has = f"the run has {steps}" if part is None else f"the slice has {steps_text(part.begin, end)}"
    if not problems:
        problems = [
            f"{old.trail_of(rank)}: ends at step {records[-1].step if records else 0}, {has}"
            for rank, records in enumerate(record.trail or [])
            if not records or records[-1].step != end
        ]
    if problems:
        raise CannotRun(problems, "restore the run's trail and result from a copy")
    return record


def state_before(
    old: RunFiles, record: RunRecord, step: int, *, trail_too: bool = False
) -> Tuple[Path, Head, bool]:
    """The checkpoint with the newest state at or before ``step`` of those that are there, its head,
    and whether the run's result has its digest. An older trainer wants the trail and log that the
    checkpoint counts on (``trail_too``).

    Raises CannotRun where there is none, or it is not the state that the run wrote.
    """
    manifest = record.manifest
    present = [path for path in present_states(old) if (step_of(path) or 0) <= step]
    if not present:
        later = [str(step_of(path)) for path in present_states(old)][::-1]
        has = (
            f"its states are those after steps {', '.join(later)}" if later else "it has no states"
        )
        raise CannotRun(
            f"{old.root}: no state at or before step {step}: {has}",
            "begin with the first step, which needs none: --from-step 0",
        )
    path = present[0]
    try:
        kept = kept_states(old, manifest, record.result)
        problem = checkpoint_problem(path, old, manifest, kept)
        head = None if problem else read_head(path)
    except OSError as error:
        problem, head = f"cannot be read: {error.strerror}", None
    if head is not None and trail_too and not problem:
        problem = cut_records(head, old)
    if problem or head is None:
        raise CannotRun(
            f"{path}: {problem}",
            "restore it from a copy, or remove it to begin with the state before",
        )
    return path, head, kept.bound


def copy_prefix(source: Path, target: Path, prefix: Prefix) -> None:
    """Copy the first bytes of a growing file."""
    with source.open("rb") as stream:
        target.write_bytes(stream.read(prefix.length))
