"""From a config file to a plan: all is read, checked and decided before a byte is written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, List, Optional

from container import atomic
from container.image import Image
from container.recipe import Recipe, load_recipe
from container.trouble import Trouble
from jobtemplates.script import render_script, script_warnings
from jobtemplates.sites import Site, load_site, profile_folders
from manifests.config.combinations import check_combinations, loader_warnings
from manifests.config.config_file import read_config
from manifests.config.determinism import determinism_for, has_gpus, promises_for
from manifests.config.run_config import (
    RunConfig,
    checkpointing,
    loading,
    observing,
    placement,
    training,
)
from manifests.datasets.inputs import (
    Fingerprints,
    Lists,
    read_images,
    read_lists,
    read_packs,
)
from manifests.flows.plan import Plan, new_run
from manifests.flows.preflight import (
    built_image,
    driver_warnings,
    host_mpi_warnings,
    image_identity,
    image_mpi,
    launch_context_of,
    processor_warnings,
)
from manifests.host import hosting
from manifests.host.context import TOOL_VERSION, HostContext
from manifests.host.image_memory import ImageMemory
from manifests.host.image_source import built_words
from manifests.host.placing import (
    limit_problems,
    output_warnings,
    place,
    refuse_crowded,
    unseen_warnings,
)
from manifests.record import schema
from manifests.record.run_files import RunFiles
from manifests.rundir.directory import refuse_unwritable
from manifests.rundir.rank_code import load_imports, save_imports
from manifests.rundir.snapshot import Snapshot, copy_snapshot, take_snapshot
from manifests.rundir.snapshot_size import large_text, size_text
from manifests.rundir.submission import refuse_too_many_nodes

if TYPE_CHECKING:
    from manifests.datasets.initmodel import InitModel
    from manifests.flows.continuation import Continuation


def plan_submit(
    config_path: Path, host: HostContext, *, group: Optional[str] = None, read_only: bool = False
) -> Plan:
    """Config -> Plan. ``read_only`` (a dry run) leaves even the fingerprint cache as it is.

    Raises Trouble with every problem that can be known before the run.
    """
    warnings: List[str] = []
    config = read_config(config_path, home=host.home)
    site = load_site(config.site, profile_folders(host.environ))
    world = world_of(config, site)
    asked = placement_of(config, site, world, group)
    layout = asked.layout(world)
    placed = place(asked, site, layout, with_gpus=has_gpus(config.stack))
    refuse_unwritable(config.out)
    lists = read_inputs(config)
    refuse_combinations(config, site, world, layout, lists)
    initmodel = initmodel_of(config)
    warnings += processor_warnings(promises_for(config.stack), site, host)
    warnings += driver_warnings(
        config.stack, promises_for(config.stack), site.scheduler, host,
        instead=lambda: f"or write `stack: cpu` into the config{built_words(host)}",
    )  # fmt: skip
    if not read_only:
        refuse_too_many_nodes(placed, layout.nodes, host, site)
    before = beginning(config, warnings)
    recipe = load_recipe(host.project, config.stack)
    warnings += host_mpi_warnings(site, placed, image_mpi(recipe), host)
    memory = ImageMemory(host.cache.root, read_only=read_only)
    image = built_image(recipe, host, memory.digest)
    data = [config.train_root, config.val_root, config.train_pack, config.val_pack]
    snapshot = code_snapshot(
        host, [config.out, *data], warnings, config.snapshot_limit, read_only=read_only
    )
    images = fingerprints(config, lists, recipe, host, read_only=read_only)
    identity = schema.Identity(
        training=training(config),
        code=snapshot.identity,
        image=image_identity(image),
        data=data_identity(lists, images, initmodel),
        world=world,
        determinism=determinism_for(config.stack),
    )
    if before is not None:
        before.refuse_another(identity)
    manifest = schema.Manifest(
        identity_digest=identity.digest(),
        identity=identity,
        circumstance=circumstance_of(config, config_path, image, snapshot, placed, before, host),
        promises=promises_for(config.stack),
        recipe=schema.Recipe(stack=recipe.stack, files=dict(recipe.files)),
    )
    files = new_run(config.out, config.jobname, host.now(), manifest.identity_digest)

    def fill(target: RunFiles) -> None:
        atomic.write_bytes(target.config, config_path.read_bytes())
        copy_snapshot(snapshot, target.code)
        target.inputs.mkdir()
        atomic.write_bytes(target.train_table, images.train.table)
        atomic.write_bytes(target.val_table, images.val.table)
        atomic.write_bytes(target.mean, lists.mean.data)
        if initmodel is not None:
            atomic.write_bytes(target.initmodel, initmodel.data)
        if before is not None:
            before.copy_to(target)

    launch_context, launch_warnings = launch_context_of(site, image.path, host, memory)

    def render(files: RunFiles) -> str:
        return render_script(manifest, files, site, launch_context)

    warnings += [
        *launch_warnings,
        *memory.warnings,
        *([initmodel.note] if initmodel and initmodel.few else []),
        *lists.warnings,
        *images.warnings,
        *loader_warnings(
            loading(config),
            layout.ranks // layout.nodes,
            site.cores_of_a_node(config.nnodetype, host.cores),
            "rank" if layout.ranks == world.ranks else "process",
        ),
        *unseen_warnings(site, manifest.circumstance.paths),
        *output_warnings(site, files.root),
    ]
    return Plan(
        files=files,
        manifest=manifest,
        script=render(files),
        render=render,
        fill=fill,
        warnings=[*warnings, *script_warnings(manifest, site)],
        notes=[
            *([initmodel.note] if initmodel and not initmodel.few else []),
            *hosting.notes(manifest, placed),
            *([] if large_text(snapshot.sizes) else [size_text(snapshot.sizes)]),
        ],
    )


def code_snapshot(
    host: HostContext, exclude: List[Path], warnings: List[str], limit_mb: int, *, read_only: bool
) -> Snapshot:
    memory = host.cache.root / "imports.json"
    known = load_imports(memory)
    before = len(known)
    snapshot = take_snapshot(host.project, exclude=exclude, known=known, limit_mb=limit_mb)
    warnings += filter(None, [large_text(snapshot.sizes)])
    if not read_only and len(known) != before:
        try:  # it only saves time
            save_imports(memory, known)
        except (OSError, Trouble) as error:
            why = error.strerror if isinstance(error, OSError) else error.problems[0]
            warnings.append(f"what ranks import is not remembered: {memory}: {why}")
    return snapshot


def world_of(config: RunConfig, site: Site) -> schema.World:
    per_node = site.ranks_on_a_node(config.nnodetype, config.ranks_per_node)
    return schema.World(ranks=per_node * config.nnodes, nodes=config.nnodes)


def placement_of(
    config: RunConfig, site: Site, world: schema.World, group: Optional[str]
) -> schema.Placement:
    """What the config asks for; fewer processes than ranks lie on as many of its nodes as there are
    and as take equal shares. Raises Trouble for a number of processes that it cannot have."""
    asked = placement(config)
    if group:
        asked = asked.model_copy(update={"group": group})
    if config.processes is None:
        return asked
    there_are = site.nodes_there_are(config.nnodetype)
    layout = hosting.asked_for(world, config.processes, None, there_are)
    refuse_crowded(site, config.nnodetype, layout)
    return asked.model_copy(
        update={
            "processes": None if layout.ranks == world.ranks else layout.ranks,
            "nodes": None if layout.nodes == world.nodes else layout.nodes,
        }
    )


def beginning(config: RunConfig, warnings: List[str]) -> Optional[Continuation]:
    """The run that this one goes on from, where the config names one."""
    if config.resume is None:
        return None
    from manifests.flows.continuation import read_continuation

    return read_continuation(config.resume, warnings.append)


def read_inputs(config: RunConfig) -> Lists:
    return read_lists(
        train=config.train,
        train_root=config.train_root,
        val=config.val,
        val_root=config.val_root,
        mean=config.mean,
        nclasses=config.nclasses,
    )


def initmodel_of(config: RunConfig) -> Optional[InitModel]:
    if config.initmodel is None:
        return None
    from manifests.datasets.initmodel import read_initmodel

    return read_initmodel(config.initmodel, config.arch, config.nclasses)


def fingerprints(
    config: RunConfig, lists: Lists, recipe: Recipe, host: HostContext, *, read_only: bool
) -> Fingerprints:
    """The digests of both sets' images: of the files, or with `custom` as they were when packed."""
    if config.loadtype == "custom":
        from manifests.datasets.packed_images import Packs, decoder_of

        packs = Packs(config.train_pack, config.val_pack)
        return read_packs(lists, packs, decoder=decoder_of(recipe))
    return read_images(
        lists,
        train_root=config.train_root,
        val_root=config.val_root,
        cache_folder=None if read_only else host.cache.root / "fingerprints",
        progress=host.progress,
    )


def refuse_combinations(
    config: RunConfig, site: Site, world: schema.World, layout: schema.World, lists: Lists
) -> None:
    problems = check_combinations(
        config,
        limits=limit_problems(site, config.nnodetype, layout.nodes, config.walltime),
        ranks=world.ranks,
        train_samples=len(lists.train.paths),
        val_samples=len(lists.val.paths),
    )
    if problems:
        raise Trouble(problems, "change these keys; docs/configuration.md lists every key")


def data_identity(
    lists: Lists, images: Fingerprints, initmodel: Optional[InitModel]
) -> schema.DataIdentity:
    return schema.DataIdentity(
        train=images.train.identity,
        val=images.val.identity,
        mean=lists.mean.identity,
        initmodel=initmodel.sha256 if initmodel else None,
    )


def circumstance_of(
    config: RunConfig,
    config_path: Path,
    image: Image,
    snapshot: Snapshot,
    placed: schema.Placement,
    before: Optional[Continuation],
    host: HostContext,
) -> schema.Circumstance:
    return schema.Circumstance(
        created=host.timestamp(),
        host=host.hostname,
        user=host.user,
        tool_version=TOOL_VERSION,
        paths=schema.Paths(
            config=str(config_path.resolve()),
            image=str(image.path),
            train_root=str(config.train_root),
            val_root=str(config.val_root),
            train_pack=str(config.train_pack) if config.loadtype == "custom" else None,
            val_pack=str(config.val_pack) if config.loadtype == "custom" else None,
            out=str(config.out),
        ),
        placement=placed,
        loading=loading(config),
        observing=observing(config),
        checkpointing=checkpointing(config),
        resumed=before.resumed() if before else None,
        git=snapshot.git,
        bundleignore=snapshot.bundleignore,
        other_code=snapshot.other,
    )
