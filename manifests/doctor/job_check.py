"""`doctor --job`: a job as a run's, whose ranks look at their nodes instead of training.

Snapshot, job script, launcher and image are a run's own; the command of its ranks is another, and
the image's folder is bound where the training set would be.
"""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Dict, Iterator, Optional

from pydantic import ValidationError

from container import atomic
from container.build_folder import remove_tree
from container.recipe import load_recipe
from container.shell_word import shell_words
from container.stack import Stack
from container.trouble import Trouble
from jobtemplates.backend import Scheduler
from jobtemplates.schedulers import backend_named
from jobtemplates.script import Work, log_name, render_work
from jobtemplates.sites import Site
from manifests.config.determinism import determinism_for, has_gpus, promises_for
from manifests.doctor.allocation import Allocation, allocation_findings
from manifests.flows.cancel import cancel_run
from manifests.flows.explain import explain_failure
from manifests.flows.follow import Waiting, job_now, words_of
from manifests.flows.plan import new_run
from manifests.flows.preflight import built_image, launch_context_of
from manifests.flows.start import start_run
from manifests.flows.started_jobs import Living, end_jobs
from manifests.host.context import TOOL_VERSION, HostContext
from manifests.host.finding import Finding, fail, of_trouble, ok
from manifests.host.placing import limit_problems, nodetype_for, place
from manifests.record import schema
from manifests.record.mounts import TRAIN_MOUNT
from manifests.record.run_files import RunFiles
from manifests.rundir.directory import create_run
from manifests.rundir.run_state import interruption, left_exit_code
from manifests.rundir.snapshot import copy_snapshot, take_snapshot
from manifests.rundir.submission import refuse_too_many_nodes

#: Seconds from handing the job over to its end; a queue that is longer is no place to wait.
PATIENCE = 600.0
#: What its ranks run, in the container.
COMMAND = ("python3", "-m", "trainer.allocation", "--image")


@dataclass(frozen=True)
class JobOptions:
    """What a person asks the job for; ``nodetype`` None: the smallest that takes two ranks."""

    nodes: int = 1
    nodetype: Optional[str] = None
    group: Optional[str] = None


def world_of_job(site: Site, asked: JobOptions) -> schema.World:
    """All ranks of a node type that was named, else two at least on a single node.

    Raises Trouble for a type that is not known, and for one rank in all.
    """
    least = 2 if asked.nodes == 1 else 1
    if asked.nodetype is not None:
        each = site.ranks_on_a_node(asked.nodetype, None)
    else:
        each = least if site.nodetypes else max(least, site.ranks_per_node)
    if each * asked.nodes == 1:
        raise Trouble(
            f"node type {asked.nodetype} has one rank: a job of one cannot show that ranks find "
            "each other",
            "give --nodes 2, or a larger --nodetype",
        )
    return schema.World(ranks=each * asked.nodes, nodes=asked.nodes)


def placement_of_job(site: Site, stack: str, asked: JobOptions) -> schema.Placement:
    """Raises Trouble for more nodes than there are, and for what a scheduler cannot be given."""
    world = world_of_job(site, asked)
    nodetype = asked.nodetype
    if nodetype is None and not site.backend.runs_here:
        nodetype = nodetype_for(site, world)
    problems = limit_problems(site, nodetype, asked.nodes, None)
    if problems:
        raise Trouble(problems, "give another --nodes")
    placement = schema.Placement(
        site=site.name, jobname="doctor", nodetype=nodetype, group=asked.group
    )
    return place(placement, site, world, with_gpus=has_gpus(stack))


def examine_job(
    site: Site, stack: Stack, host: HostContext, asked: JobOptions
) -> Dict[str, Finding]:
    """Findings by check; only the first, ``job``, where the job did not come to its end."""
    try:
        work = work_of_job(site, stack, host, asked)
        with job_folder(work, site, host) as files:
            return run_in_job(files, work, host)
    except Trouble as trouble:
        return {"job": of_trouble(trouble)}


def work_of_job(site: Site, stack: Stack, host: HostContext, asked: JobOptions) -> Work:
    """Raises Trouble when there is no image, and for what the site does not allow."""
    image = built_image(load_recipe(host.project, stack.stack), host)
    # Bound by its folder: a link in the cache would lead nowhere in the container.
    image = replace(image, path=image.path.resolve())
    placement = placement_of_job(site, image.stack, asked)
    refuse_too_many_nodes(placement, asked.nodes, host, site)
    with_gpus = has_gpus(stack.stack)
    gpus = ["--gpus"] if with_gpus else []
    return Work(
        processes=world_of_job(site, asked),
        placement=placement,
        determinism=determinism_for(stack.stack),
        stack=stack.stack,
        with_gpus=with_gpus,
        image=str(image.path),
        image_sha256=image.sha256,
        data={TRAIN_MOUNT: image.path.parent},
        command=[*COMMAND, str(TRAIN_MOUNT / image.path.name), *gpus],
        report=RunFiles(Path()).allocation.name,
        tool_version=TOOL_VERSION,
    )


@contextmanager
def job_folder(work: Work, site: Site, host: HostContext) -> Iterator[RunFiles]:
    """Where the job works: code, job script, logs; removed unless the job failed."""
    out = host.cache.root / "doctor"
    snapshot = take_snapshot(host.project, exclude=[host.cache.root])
    context, _ = launch_context_of(site, Path(work.image), host)
    target = new_run(out, "doctor", host.now(), work.image_sha256)
    script = render_work(work, target, site, context)

    def fill(files: RunFiles) -> None:
        copy_snapshot(snapshot, files.code)
        files.logs.mkdir()
        atomic.write_bytes(files.job_script, script.encode("utf-8"))
        files.job_script.chmod(0o755)

    files = create_run(out, target.root.name, fill)
    try:
        yield files
    except BaseException:
        remove_tree(files.root)
        raise
    if files.done.exists():
        remove_tree(files.root)
        with suppress(OSError):
            files.root.parent.rmdir()


def still_there(living: Living) -> Trouble:
    """Its folder goes, so that `cancel` would not find it."""
    job, backend = living.job, backend_named(living.job.backend)
    words = backend.cancel(job.ids, job.cluster) if isinstance(backend, Scheduler) else []
    end = shell_words(words) if words else f"kill {job.id.partition('.')[0]}"
    return Trouble(f"job {', '.join(job.ids)} may go on: {living.why}", f"end it: {end}")


def run_in_job(files: RunFiles, work: Work, host: HostContext) -> Dict[str, Finding]:
    begin = time.monotonic()
    waiting = Waiting(host.progress.stage)
    try:
        job = start_run(files, host, placement=work.placement, warn=host.progress.stage)
        while (entry := job_now(files, host)) is not None:
            if not backend_named(job.backend).runs_here:
                waiting(entry)
            if time.monotonic() - begin > PATIENCE:
                cancel_run(files, host)
                late = f"did not end within {PATIENCE:g} s"
                return {"job": fail(f"{words_of(entry)}; it {late}", see(files))}
            time.sleep(max(0.1, backend_named(job.backend).ask_seconds))
    except BaseException:
        _, living = end_jobs([files], host)
        if living:
            raise still_there(living[0]) from None
        raise
    seconds = time.monotonic() - begin
    code = left_exit_code(files)
    if code is None:
        ended = interruption(files) or "it was killed: it left no exit code"
        return {"job": fail(f"job {job.id}: {ended}", see(files))}
    if code != 0:
        log = files.logs / log_name(work.placement, "stderr")
        return {"job": fail(f"job {job.id}: {explain_failure(files, log)}", see(files))}
    try:
        found = Allocation.model_validate_json(files.allocation.read_bytes())
    except ValidationError as error:
        files.done.unlink()
        return {"job": fail(f"job {job.id} left no report that can be read: {error}", see(files))}
    return {
        "job": ok(f"{job.id} ended well in {seconds:.1f} s"),
        **allocation_findings(
            found,
            work.processes,
            image_sha256=work.image_sha256,
            promises=promises_for(work.stack),
            stack=work.stack,
        ),
    }


def see(files: RunFiles) -> str:
    return f"remove {files.root} when you have looked into its logs/"
