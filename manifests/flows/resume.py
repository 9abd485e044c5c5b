"""Going on with a run that stopped, failed or was killed: the same job, in the same directory."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

from container import atomic
from container.reachable import file_problem, folder_here, folder_problem
from container.shell_word import shell_word
from container.trouble import Trouble, first_of
from jobtemplates.backend import QueueEntry
from jobtemplates.schedulers import backend_named
from jobtemplates.script import render_script, run_of_script
from jobtemplates.sites import Site, load_site, profile_folders
from manifests.flows.continuation import fits, look_at
from manifests.flows.preflight import driver_warnings, launch_context_of
from manifests.host import hosting
from manifests.host.context import HostContext
from manifests.host.image_memory import ImageMemory
from manifests.host.placing import charged, place_on
from manifests.record.checkpoint_names import checkpoints_in
from manifests.record.run_files import RunFiles
from manifests.record.schema import Circumstance, Manifest, Placement
from manifests.rundir.directory import find_run, state_of
from manifests.rundir.job import read_job
from manifests.rundir.kept_states import of_another_run
from manifests.rundir.queue import Queues, settle
from manifests.rundir.rank_code import counted_code
from manifests.rundir.records import Warn, ignore, read_manifest
from manifests.rundir.rerun_command import rerun_command
from manifests.rundir.run_state import interruption, left_exit_code
from manifests.rundir.submission import refuse_lost, refuse_too_many_nodes
from manifests.rundir.verify import companion_problems, identity_files_problems


@dataclass(frozen=True)
class Resumption:
    """``checkpoint`` None: the run begins with the first step again."""

    files: RunFiles
    checkpoint: Optional[Path]
    step: int
    steps: int
    placement: Placement
    #: A job script of its own, where other processes go on with the run than those it was made for.
    script: Optional[str] = None
    notes: Tuple[str, ...] = ()

    def text(self) -> str:
        if self.checkpoint is None:
            return f"no checkpoint: it begins with the first of {self.steps} steps"
        return f"goes on after step {self.step} of {self.steps}, from {self.checkpoint.name}"


def plan_resume(
    run: Path,
    host: HostContext,
    warn: Warn = ignore,
    *,
    group: Optional[str] = None,
    processes: Optional[int] = None,
    nodes: Optional[int] = None,
) -> Resumption:
    """Decide from where a run goes on; nothing is changed. ``group`` is charged where given.

    So many ``processes`` on so many ``nodes`` compute its ranks, those of the manifest where
    neither is given. Raises Trouble when it is complete or still runs, when anything that decides
    its bits was altered, when its data are gone, when this host would train and its driver is too
    old, or when the run cannot be computed by these processes.
    """
    files = find_run(str(run))
    refuse_busy(files, host, warn)
    manifest = read_manifest(files, warn)
    refuse_moved(files)
    problems = [
        *identity_files_problems(files, manifest, runs_in_place=True),
        *companion_problems(files, manifest),
        *missing_data(manifest.circumstance),
    ]
    if problems:
        raise Trouble(first_of(problems), "restore what was altered or moved, then resume again")
    placement = manifest.circumstance.placement
    for text in driver_warnings(
        manifest.identity.image.stack, manifest.promises, placement.scheduler, host,
        instead=lambda: f"or go on in a new run where there is one: resume: {files.root}",
    ):  # fmt: skip
        warn(text)
    script: Optional[str] = None
    notes: List[str] = []
    if processes is not None or nodes is not None:
        site = load_site(placement.site, profile_folders(host.environ))
        moved = place_on(manifest, site, group, processes, nodes)
        refuse_hosting(manifest, moved, site, host)
        if moved.layout(manifest.identity.world) != placement.layout(manifest.identity.world):
            image = Path(manifest.circumstance.paths.image)
            memory = ImageMemory(host.cache.root)
            context, warnings = launch_context_of(site, image, host, memory)
            for text in [*warnings, *memory.warnings]:
                warn(text)
            placement, notes = moved, hosting.notes(manifest, moved)
            script = render_script(manifest, files, site, context, moved)
    if group and script is None:
        site = load_site(placement.site, profile_folders(host.environ))
        placement = charged(manifest, site, group)
    steps = manifest.identity.steps
    details: Dict[str, Any] = {"placement": placement, "script": script, "notes": tuple(notes)}
    checkpoints = checkpoints_in(files.checkpoints)
    if not checkpoints:
        return Resumption(files, None, 0, steps, **details)
    counted = counted_code(files, manifest)
    useless: List[str] = []
    for checkpoint in checkpoints:
        head, problem = look_at(checkpoint, files)
        if head is not None and not fits(head, manifest.identity, counted):
            problem = of_another_run(head, manifest.identity.world.ranks)
        elif head is not None:
            for text in useless:
                warn(f"{text}; an older one is used")
            return Resumption(files, checkpoint, head.step, steps, **details)
        useless.append(f"{checkpoint}: {problem}")
    raise Trouble(
        useless,
        f"restore one from a copy, or remove {files.checkpoints} to begin with the first step",
    )


def refuse_hosting(manifest: Manifest, placement: Placement, site: Site, host: HostContext) -> None:
    """Raise Trouble where the run cannot be computed by these processes, or not on this site."""
    layout = placement.layout(manifest.identity.world)
    refused = hosting.refusal(manifest, layout)
    if refused is not None:
        raise Trouble(*refused)
    refuse_too_many_nodes(placement, layout.nodes, host, site)


def write_script(plan: Resumption) -> RunFiles:
    """The run with the job script that the plan wants, which is written where it is a new one."""
    if plan.script is None:
        return plan.files
    assert plan.placement.processes is not None and plan.placement.nodes is not None
    script = plan.files.script_for(plan.placement.processes, plan.placement.nodes)
    try:
        atomic.write_bytes(script, plan.script.encode("utf-8"))
        script.chmod(0o755)
    except OSError as error:
        raise Trouble(
            f"{script}: cannot be written: {error.strerror}",
            "free some space or get the right to write there, then try again",
        ) from error
    return plan.files.with_script(script)


def refuse_busy(files: RunFiles, host: HostContext, warn: Warn = ignore) -> None:
    """Raise Trouble unless the run's job has ended and left something to do.

    A scheduler must say that nothing of the run is in its queue: a follow-up job may be waiting
    there whatever the files tell.
    """
    queues = Queues(host, warn)
    state, _, _ = state_of(files, queues, warn)
    root = files.root
    if state == "done":
        raise Trouble(
            f"{root}: is complete",
            f"to run it again: {rerun_command(files, read_manifest(files))}",
        )
    # A job that fails leaves its mark before its last process has ended.
    earlier = None if state == "damaged" else read_job(files)
    if state in ("failed", "stopped", "cancelled") and earlier is not None:
        settle(earlier, host)
    entry = QueueEntry("unknown") if state in ("prepared", "damaged") else queues(files)
    job = entry.state
    if state != "damaged" and files.submitting.exists():
        placement = read_manifest(files).circumstance.placement
        refuse_lost(files, placement, host, queues.questions)
        if read_job(files) is None:
            return
    if "running" in (state, job) or "queued" in (state, job):
        still = "runs" if "running" in (state, job) else "waits in its queue"
        raise Trouble(
            f"{root}: its job still {still}",
            f"to end it first: python bundle.py cancel {shell_word(root)}",
        )
    if state != "damaged" and script_ended(files):
        return
    if job == "unknown" and state not in ("prepared", "damaged") and of_scheduler(files):
        raise Trouble(
            f"{root}: {entry.why}: whether its job still runs is not known",
            "resume it where the scheduler answers and shows the job; if you know that none of its "
            f"jobs is left: rm {shell_word(files.job)}",
        )
    if state == "damaged" or (state == "unknown" and job != "vanished"):
        raise Trouble(
            f"{root}: whether its job still runs cannot be known here ({state})",
            "resume it on the host that it was submitted from",
        )


def of_scheduler(files: RunFiles) -> bool:
    job = read_job(files)
    return job is not None and not backend_named(job.backend).runs_here


def script_ended(files: RunFiles) -> bool:
    """Whether the run's files tell that its scheduler has no job of it any more.

    Its code, or how its ranks were ended from outside, is the last thing that a job script leaves,
    and it is removed when another one starts.
    """
    job = read_job(files)
    if job is None or job.chain or not of_scheduler(files):
        return False
    return left_exit_code(files) is not None or bool(interruption(files))


def refuse_moved(files: RunFiles) -> None:
    """Raise Trouble unless the run lies where its job script works."""
    try:
        home = run_of_script(files.job_script.read_text(encoding="utf-8"))
    except OSError as error:
        raise Trouble(
            f"{files.job_script}: cannot be read: {error.strerror}", "restore it from a copy"
        ) from error
    if home is None or not folder_here(home) or not home.samefile(files.root):
        raise Trouble(
            f"{files.root}: was moved or renamed, its job script works in {home}",
            f"move it back, or go on in a new run: resume: {files.root}",
        )


@contextmanager
def alone(files: RunFiles) -> Iterator[RunFiles]:
    """Keep a second ``resume`` of the same run out. Raises Trouble when one is under way."""
    descriptor = os.open(files.root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise Trouble(f"{files.root}: is being resumed already", "see: status") from None
    except OSError:
        pass  # a file system without locks: the look at the job must do
    try:
        yield files
    finally:
        os.close(descriptor)


def missing_data(circumstance: Circumstance) -> List[str]:
    """What the job script would bind and is not there."""
    paths = circumstance.paths
    if circumstance.loading.loadtype == "custom":
        packs = sorted({Path(pack) for pack in (paths.train_pack, paths.val_pack) if pack})
        return [f"{pack}: {why}" for pack in packs if (why := file_problem(pack))]
    roots = sorted({Path(paths.train_root), Path(paths.val_root)})
    return [f"{root}: {why}" for root in roots if (why := folder_problem(root))]
