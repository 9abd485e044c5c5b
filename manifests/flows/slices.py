"""A run checked by slices: planned all at once, started as jobs of their own, gathered, judged

All that is known of them lies in their folder, so that they can be gathered by another process when
the one that started them was killed.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Optional, Sequence, Tuple

from container import atomic
from container.shell_word import shell_word
from container.trouble import Trouble
from jobtemplates.schedulers import backend_named
from manifests.flows.cancel import cancel_run
from manifests.flows.cannot_run import CannotRun
from manifests.flows.explain import explain_failure
from manifests.flows.follow import exit_code_of, job_now
from manifests.flows.judgement import judge
from manifests.flows.plan import Plan, write_run
from manifests.flows.rerun import RerunRequest, plan_rerun
from manifests.flows.slice_jobs import array_script, start_slices
from manifests.flows.slice_plan import SLICE_CODE, can_end, refuse_beyond_slice, whole_record
from manifests.flows.start import start_run
from manifests.flows.unfinished import refuse_unfinished
from manifests.host.context import HostContext
from manifests.record.checkpoint_names import checkpoints_in, step_of
from manifests.record.communicators import counted
from manifests.record.run_files import RunFiles
from manifests.record.schema import Slice
from manifests.record.slice_set import (
    SetFiles,
    SliceOptions,
    SliceSet,
    drawn,
    even_cuts,
    slices_between,
)
from manifests.rundir.directory import create_run, find_run, run_name, state_of
from manifests.rundir.job import read_job
from manifests.rundir.queue import Queues
from manifests.rundir.records import Warn, ignore, read_manifest, read_record
from manifests.rundir.submission import refuse_lost
from manifests.verdict.comparison import Comparison
from manifests.verdict.slices import gathered

#: Between two looks at the jobs of a folder, in seconds; a scheduler is asked less often.
LOOK_SECONDS = 1.0

Steps = Tuple[int, int]


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
    states = [s for s in map(step_of, checkpoints_in(old.checkpoints)) if s and s < steps]
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
    plans = [_planned(old.root, host, record, one, folder, read_only, warn) for one in wanted]
    return SetPlan(SetFiles(folder), record, plans)


def _planned(
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


def read_slices(folder: Path, warn: Warn = ignore) -> SliceSet:
    """Raises Trouble where the folder has no whole record of slices."""
    return read_record(SetFiles(folder).plan, SliceSet, warn)


def refuse_other_set(folder: Path, record: SliceSet, old: RunFiles, warn: Warn = ignore) -> None:
    """Raise Trouble where a record of slices is not one of this run: its root and steps bind the
    verdict, and a sample is one only as the root and the seed draw it."""
    manifest = read_manifest(old, warn)
    result = whole_record(old, warn).result
    root, steps = None if result is None else result.root, manifest.identity.steps
    problems = [
        f"{name} is {found}, the run has {expected}"
        for name, found, expected in (
            ("identity_digest", record.identity_digest, manifest.identity_digest),
            ("root", record.root, root),
            ("steps", record.steps, steps),
        )
        if found != expected
    ]
    if record.seed is not None and not problems:
        recorded = [one.step for one in (result.states if result else None) or []]
        present = [s for s in map(step_of, checkpoints_in(old.checkpoints)) if s]
        divided = [
            slices_between([s for s in states if s < steps], steps)
            for states in (recorded, present)
        ]
        # States that are gone by now were there, or were not, when the slices were drawn.
        if not any(_is_draw(record, chosen) for chosen in divided):
            problems = [f"slices are not those that the root and seed {record.seed} draw"]
    if problems:
        plan = SetFiles(folder).plan
        raise Trouble(
            [f"{plan}: {problem}" for problem in problems],
            "restore the file from a copy, or check the run anew, without --gather",
        )


def _is_draw(record: SliceSet, chosen: Sequence[Steps]) -> bool:
    numbers = drawn(str(record.root), str(record.seed), len(chosen), len(record.slices))
    return record.of == len(chosen) and record.slices == [chosen[k] for k in numbers]


def slice_of(files: RunFiles) -> Optional[Slice]:
    return read_manifest(files).circumstance.slice if files.manifest.exists() else None


def found_slices(folder: Path) -> Dict[Steps, RunFiles]:
    """The run directories of a folder by the steps that they were asked for; of two with the same
    steps the older."""
    found: Dict[Steps, RunFiles] = {}
    for path in sorted(folder.iterdir()):
        part = slice_of(RunFiles(path)) if path.is_dir() else None
        if part is not None:
            found.setdefault((part.after, part.end), RunFiles(path))
    return found


@contextmanager
def only_gatherer(folder: Path) -> Iterator[None]:
    """Keep a second one out. Raises Trouble while another process gathers here."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Trouble(
                f"{folder}: is being gathered by another process", "wait for its end"
            ) from None
        except OSError:
            pass  # a file system without locks: two gatherers would start a slice twice at worst
        yield
    finally:
        os.close(descriptor)


class Gathering:
    """The slices of one folder on their way to a verdict."""

    def __init__(
        self,
        folder: Path,
        host: HostContext,
        say: Callable[[str], None],
        warn: Warn = ignore,
        run: Optional[Path] = None,
    ) -> None:
        """``run``: where the run lies now, by default where it lay. Raises Trouble for a record of
        slices that is not one of this run."""
        self._folder, self._host, self._say, self._warn = folder, host, say, warn
        record = read_slices(folder, warn)
        old = find_run(record.run if run is None else str(run))
        refuse_other_set(folder, record, old, warn)
        self.record = record.model_copy(update={"run": str(old.root)})
        self._runs = self._all_there()
        self._ended: Dict[Steps, Comparison] = {}
        self._started: Dict[Steps, int] = {}

    def _all_there(self) -> Dict[Steps, RunFiles]:
        """Whoever wrote the folder may have been killed on the way."""
        found = found_slices(self._folder)
        old = find_run(self.record.run)
        for steps in self.record.slices:
            if steps not in found:
                plan = _planned(
                    old.root, self._host, self.record, steps, self._folder, False, self._warn
                )
                found[steps] = write_run(plan)
        return {steps: found[steps] for steps in self.record.slices}

    def wait(self, pause: Callable[[float], None] = time.sleep) -> Comparison:
        """Start what is to be started, wait for all, and keep the verdict in ``verdict.json``."""
        while (left := self.look()) > 0:
            pause(left)
        verdict = gathered(
            self.record.run,
            str(self._folder),
            [self._ended[steps] for steps in self.record.slices],
            steps=self.record.steps,
            root=self.record.root,
            of=self.record.of,
            seed=self.record.seed,
        )
        atomic.write_json(SetFiles(self._folder).verdict, verdict.model_dump(mode="json"))
        return verdict

    @property
    def begun(self) -> bool:
        """Whether a job of a slice was started here."""
        return bool(self._started)

    def look(self) -> float:
        """Judge what has ended and start what may start. The seconds until the next look; 0 when
        all have ended."""
        active, waiting = 0, []
        pause, queues = LOOK_SECONDS, Queues(self._host, self._warn)
        for steps, files in self._runs.items():
            if steps in self._ended:
                continue
            if not files.done.exists() and job_now(files, self._host, queues) is not None:
                active += 1
                job = read_job(files)
                pause = max(pause, backend_named(job.backend).ask_seconds if job else 0.0)
            elif self._can_start(steps, files, queues):
                waiting.append((steps, files))
            else:
                self._judge(steps, files)
        self._start(waiting[: max(0, self._at_once() - active)])
        return pause if active or waiting else 0.0

    def cancel(self) -> None:
        """End the jobs that are under way."""
        for files in self._runs.values():
            if not files.done.exists() and job_now(files, self._host) is not None:
                cancel_run(files, self._host)

    def _can_start(self, steps: Steps, files: RunFiles, queues: Queues) -> bool:
        """Whether it was not started yet, or was stopped on its way. One that a person cancelled
        while it was waited for stays as it is."""
        if files.done.exists():
            return False
        state, _, _ = state_of(files, queues, self._warn)
        if state == "unknown" and read_job(files) is None:
            placement = read_manifest(files).circumstance.placement
            refuse_lost(files, placement, self._host, queues.questions)
            return True
        return state in ("prepared", "stopped") or (
            state == "cancelled" and steps not in self._started
        )

    def _at_once(self) -> int:
        """How many may run side by side: on this host as many as it has cores for."""
        files = next(iter(self._runs.values()))
        manifest = read_manifest(files)
        placement = manifest.circumstance.placement
        if not backend_named(placement.scheduler).runs_here:
            return len(self._runs)
        processes = placement.layout(manifest.identity.world).ranks
        return max(1, self._host.cores // processes)

    def _start(self, waiting: Sequence[Tuple[Steps, RunFiles]]) -> None:
        """Those that never had a job together, others each by a job that goes on with it."""
        new = [(steps, files) for steps, files in waiting if read_job(files) is None]
        words = ["rerun", self.record.run, "--gather", str(self._folder)]
        started = [(one, start_run(one[1], self._host)) for one in waiting if one not in new]
        if new:
            set_files = SetFiles(self._folder)
            jobs = start_slices([files for _, files in new], set_files, self._host, words)
            started += list(zip(new, jobs))
        for (steps, files), job in started:
            self._started[steps] = self._started.get(steps, 0) + 1
            self._say(f"steps {steps[0] + 1}..{steps[1]}: job {job.id} in {files.root}")

    def _judge(self, steps: Steps, files: RunFiles) -> None:
        try:
            if exit_code_of(files, self._host) != 0:
                self._say(explain_failure(files))
        except Trouble as error:
            self._say(str(error))
        self._ended[steps] = verdict = judge(Path(self.record.run), files, self._warn)
        self._say(f"steps {steps[0] + 1}..{steps[1]}: {verdict.verdict}")


def verdict_on(run: Path, slices: Sequence[Path], warn: Warn = ignore) -> Comparison:
    """The verdict from slices of a run that were made one by one. Raises Trouble for a directory
    that is no slice of it."""
    old = find_run(str(run))
    record = whole_record(old, warn)
    found, problems = [], []
    for path in slices:
        files = find_run(str(path))
        manifest = read_manifest(files, warn)
        if manifest.circumstance.slice is None:
            problems.append(f"{files.root}: is not a slice")
        elif manifest.identity_digest != record.manifest.identity_digest:
            problems.append(f"{files.root}: is a slice of a run of another identity")
        else:
            found.append(judge(old.root, files, warn))
    if problems:
        raise Trouble(problems, "give slices of this run, made by rerun --from-step --to-step")
    root = record.result.root if record.result else None
    return gathered(str(old.root), None, found, steps=record.manifest.identity.steps, root=root)
