"""The slices of one folder on their way to a verdict: started as jobs, waited for, judged

All that is known of them lies in their folder, so that they can be gathered by another process when
the one that started them was killed.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Callable, Dict, List, Optional, Sequence, Tuple

from container import atomic
from container.reachable import file_here, folder_problem
from container.trouble import Trouble
from jobtemplates.backend import QueueEntry
from jobtemplates.schedulers import backend_named
from manifests.flows.explain import explain_failure
from manifests.flows.follow import exit_code_of, job_now
from manifests.flows.judgement import judge
from manifests.flows.plan import write_run
from manifests.flows.slice_folder import found_slices, read_slices, refuse_other_set
from manifests.flows.slice_jobs import start_slices
from manifests.flows.slice_plan import whole_record
from manifests.flows.slices import planned_slice
from manifests.flows.start import start_run
from manifests.host.context import HostContext
from manifests.record.run_files import RunFiles
from manifests.record.slice_set import SetFiles, Steps
from manifests.rundir.directory import find_run, state_of
from manifests.rundir.job import read_job
from manifests.rundir.queue import Queues
from manifests.rundir.records import Warn, ignore, read_manifest
from manifests.rundir.submission import refuse_lost
from manifests.verdict.comparison import Comparison
from manifests.verdict.slices import gathered

#: Between two looks at the jobs of a folder, in seconds; a scheduler is asked less often.
LOOK_SECONDS = 1.0

OTHER_IDENTITY = "is a slice of a run of another identity"


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
        self._heard: Dict[Steps, str] = {}

    def _all_there(self) -> Dict[Steps, RunFiles]:
        """Whoever wrote the folder may have been killed on the way. Raises Trouble for a slice of
        another run that somebody put there."""
        found = found_slices(self._folder)
        foreign = [
            f"{files.root}: {OTHER_IDENTITY}"
            for steps, files in found.items()
            if steps in self.record.slices
            and read_manifest(files).identity_digest != self.record.identity_digest
        ]
        if foreign:
            raise Trouble(foreign, "move it out of the folder, then gather again")
        old = find_run(self.record.run)
        for steps in self.record.slices:
            if steps not in found:
                plan = planned_slice(
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
        pause, queues = LOOK_SECONDS, Queues(self._host)
        delayed: Dict[str, List[str]] = {}
        for steps, files in self._runs.items():
            if steps in self._ended:
                continue
            entry = None if files.done.exists() else job_now(files, self._host, queues)
            if entry is not None:
                active += 1
                if self._is_news(steps, entry):
                    delayed.setdefault(f"{entry.state}: {entry.why}", []).append(entry.job)
                job = read_job(files)
                pause = max(pause, backend_named(job.backend).ask_seconds if job else 0.0)
            elif self._can_start(steps, files, queues):
                waiting.append((steps, files))
            else:
                self._judge(steps, files)
        for words, jobs in delayed.items():
            self._say(f"{_counted_jobs(jobs)}: {words}")
        self._start(waiting[: max(0, self._at_once() - active)])
        return pause if active or waiting else 0.0

    def _is_news(self, steps: Steps, entry: QueueEntry) -> bool:
        """Whether the scheduler has another reason now why a job does not go on."""
        before, now = self._heard.get(steps, ""), entry.why
        self._heard[steps] = now
        return now not in ("", before)

    @property
    def runs(self) -> List[RunFiles]:
        return list(self._runs.values())

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
        started = [
            (one, start_run(one[1], self._host, warn=self._warn))
            for one in waiting
            if one not in new
        ]
        if new:
            set_files = SetFiles(self._folder)
            slices = [files for _, files in new]
            jobs = start_slices(slices, set_files, self._host, words, self._warn)
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


def _counted_jobs(jobs: Sequence[str]) -> str:
    """``job 7_1 and 3 more``"""
    return f"job {jobs[0]}{f' and {len(jobs) - 1} more' if len(jobs) > 1 else ''}"


def verdict_on(run: Path, slices: Sequence[Path], warn: Warn = ignore) -> Comparison:
    """The verdict from slices of a run that were made one by one, or lie in folders of slices.
    Raises Trouble for a directory that is no slice of it."""
    old = find_run(str(run))
    record = whole_record(old, warn)
    found, problems = [], []
    for files in _slices_at(slices):
        manifest = read_manifest(files, warn)
        if manifest.circumstance.slice is None:
            problems.append(f"{files.root}: is not a slice")
        elif manifest.identity_digest != record.manifest.identity_digest:
            problems.append(f"{files.root}: {OTHER_IDENTITY}")
        else:
            found.append(judge(old.root, files, warn))
    if problems:
        raise Trouble(problems, "give slices of this run, made by rerun --from-step --to-step")
    root = record.result.root if record.result else None
    return gathered(str(old.root), None, found, steps=record.manifest.identity.steps, root=root)


def _slices_at(paths: Sequence[Path]) -> List[RunFiles]:
    """The slices that these paths name: run directories, or folders with ``slices.json``. Raises
    Trouble with each that is neither."""
    found: List[RunFiles] = []
    problems: List[str] = []
    for path in paths:
        if file_here(SetFiles(path).plan):
            found += found_slices(path).values()
        elif file_here(RunFiles(path).manifest):
            found.append(find_run(str(path)))
        else:
            why = folder_problem(path) or "is neither a slice nor a folder of slices"
            problems.append(f"--gather {path}: {why}")
    if problems:
        raise Trouble(problems, "give folders that rerun --slices made, or slices of this run")
    return found
