"""The story of `doctor --job`: a job like any run's, whose ranks look around instead of training.

Snapshot, job script, launcher and image are a run's own. Two things differ: ``trainer/__main__.py``
in the run's ``code/``, and the image's folder is bound where the training set would be.
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
from container.image import Image
from container.recipe import load_recipe
from container.runtime import find_runtime
from container.stack import Stack
from container.trouble import Trouble
from jobtemplates.schedulers import backend_named
from jobtemplates.script import render_script
from jobtemplates.sites import Site
from manifests.config.determinism import determinism_for, has_gpus, promises_for
from manifests.doctor.allocation import Allocation, allocation_findings
from manifests.flows.cancel import cancel_run
from manifests.flows.explain import explain_failure
from manifests.flows.follow import job_now, words_of
from manifests.flows.plan import Plan, new_run, write_run
from manifests.flows.preflight import built_image, image_identity, launch_context_of
from manifests.flows.start import start_run
from manifests.host.context import TOOL_VERSION, HostContext
from manifests.host.finding import Finding, fail, of_trouble, ok
from manifests.host.placing import limit_problems, nodetype_for, place
from manifests.record import schema
from manifests.rundir.run_state import left_exit_code
from manifests.rundir.snapshot import Snapshot, copy_snapshot, take_snapshot
from manifests.rundir.submission import refuse_too_many_nodes

#: Seconds from handing the job over to its end; a queue that is longer is no place to wait.
PATIENCE = 600.0
ENTRY = "trainer/__main__.py"
ENTRY_TEXT = "from trainer.allocation import main\n\nmain()\n"
#: What the trainer alone reads of a manifest; the ranks of this job do not train.
UNUSED_TRAINING = schema.Training(
    arch="nin",
    nclasses=1,
    insize=67,
    epochs=1,
    batchsize=1,
    val_batchsize=1,
    optimizer=schema.Optimizer(name="momentum_sgd", lr=1.0),
    communicator="naive",
    precision="float32",
    seed=0,
)
UNUSED_SAMPLES = schema.SampleSetIdentity(sha256="0" * 64, samples=1)
UNUSED_DATA = schema.DataIdentity(
    train=UNUSED_SAMPLES,
    val=UNUSED_SAMPLES,
    mean=schema.ArrayIdentity(sha256="0" * 64, shape=[0], dtype="float32"),
)


@dataclass(frozen=True)
class Asked:
    """What a person asks the job for; ``nodetype`` None: the smallest that takes two ranks."""

    nodes: int = 1
    nodetype: Optional[str] = None
    group: Optional[str] = None


def world_of_job(site: Site, asked: Asked) -> schema.World:
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


def placement_of_job(site: Site, stack: str, asked: Asked) -> schema.Placement:
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


def examine_job(site: Site, stack: Stack, host: HostContext, asked: Asked) -> Dict[str, Finding]:
    """Findings by check; only the first, ``job``, where the job did not come to its end."""
    try:
        plan = plan_job(site, stack, host, asked)
        with kept_only_after_failure(plan) as files:
            return look(files, plan, stack, host)
    except Trouble as trouble:
        return {"job": of_trouble(trouble)}


def plan_job(site: Site, stack: Stack, host: HostContext, asked: Asked) -> Plan:
    """Raises Trouble when there is no image, or nothing that could run it."""
    recipe = load_recipe(host.project, stack.stack)
    image = built_image(recipe, host)
    # Bound by its folder: a link in the cache would lead nowhere in the container.
    image = replace(image, path=image.path.resolve())
    runtime = find_runtime(host.project, host.environ)
    out = host.cache.root / "doctor"
    snapshot = take_snapshot(host.project, exclude=[host.cache.root])
    placement = placement_of_job(site, image.stack, asked)
    refuse_too_many_nodes(placement, asked.nodes, host, site)
    identity = schema.Identity(
        training=UNUSED_TRAINING,
        code=snapshot.identity,
        image=image_identity(image),
        data=UNUSED_DATA,
        world=world_of_job(site, asked),
        determinism=determinism_for(stack.stack),
    )
    manifest = schema.Manifest(
        identity_digest=identity.digest(),
        identity=identity,
        circumstance=circumstance_of(placement, image, out, snapshot, host),
        promises=promises_for(stack.stack),
        recipe=schema.Recipe(stack=recipe.stack, files=dict(recipe.files)),
    )
    files = new_run(out, "doctor", host.now(), manifest.identity_digest)

    def fill(target: schema.RunFiles) -> None:
        atomic.write_bytes(target.config, b"# made by bundle.py doctor --job\n")
        copy_snapshot(snapshot, target.code)
        atomic.write_bytes(target.code / ENTRY, ENTRY_TEXT.encode())

    launch_context = launch_context_of(runtime, image.path, host)

    def render(files: schema.RunFiles) -> str:
        return render_script(manifest, files, site, launch_context)

    return Plan(files, manifest, render(files), render, fill, warnings=[])


def circumstance_of(
    placement: schema.Placement, image: Image, out: Path, snapshot: Snapshot, host: HostContext
) -> schema.Circumstance:
    beside_image = str(image.path.parent)
    return schema.Circumstance(
        created=host.timestamp(),
        host=host.hostname,
        user=host.user,
        tool_version=TOOL_VERSION,
        paths=schema.Paths(
            image=str(image.path), train_root=beside_image, val_root=beside_image, out=str(out)
        ),
        placement=placement,
        loading=schema.Loading(),
        observing=schema.Observing(),
        other_code=snapshot.other,
        git=snapshot.git,
    )


@contextmanager
def kept_only_after_failure(plan: Plan) -> Iterator[schema.RunFiles]:
    """The run directory of the job; removed unless the job failed."""
    files = write_run(plan)
    try:
        yield files
    except BaseException:
        remove_tree(files.root)
        raise
    if files.done.exists():
        remove_tree(files.root)
        with suppress(OSError):
            files.root.parent.rmdir()


def look(files: schema.RunFiles, plan: Plan, stack: Stack, host: HostContext) -> Dict[str, Finding]:
    begin = time.monotonic()
    job = start_run(files, host)
    try:
        while (entry := job_now(files, host)) is not None:
            if time.monotonic() - begin > PATIENCE:
                cancel_run(files, host)
                late = f"did not end within {PATIENCE:g} s"
                return {"job": fail(f"{words_of(entry)}; it {late}", see(files))}
            time.sleep(max(0.1, backend_named(job.backend).ask_seconds))
    except BaseException:
        cancel_run(files, host)
        raise
    seconds = time.monotonic() - begin
    code = left_exit_code(files)
    if code is None:
        return {"job": fail(f"job {job.id} was killed: it left no exit code", see(files))}
    if code != 0:
        return {"job": fail(f"job {job.id}: {explain_failure(files)}", see(files))}
    identity = plan.manifest.identity
    try:
        found = Allocation.model_validate_json(files.result.read_bytes())
    except ValidationError as error:
        files.done.unlink()
        return {"job": fail(f"job {job.id} left no report that can be read: {error}", see(files))}
    return {
        "job": ok(f"{job.id} ended well in {seconds:.1f} s"),
        **allocation_findings(
            found,
            identity.world,
            image_sha256=identity.image.sha256,
            promises=plan.manifest.promises,
            stack=stack.stack,
        ),
    }


def see(files: schema.RunFiles) -> str:
    return f"remove {files.root} when you have looked into its logs/"
