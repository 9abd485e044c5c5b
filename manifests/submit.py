"""From a config file to a plan: all is read, checked and decided before a byte is written."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Callable, List, Optional, Tuple

from container import atomic
from container.image import Image, altered, altered_trouble, image_digest, recorded_image
from container.recipe import Recipe, load_recipe
from container.runtime import Runtime, find_runtime
from container.trouble import Trouble
from jobtemplates.launcher import ContainerUse
from jobtemplates.mpi import find_host_mpi, mpi_warnings
from jobtemplates.script import Host, render_script, script_warnings
from jobtemplates.sites import Site, load_site, profile_folders
from manifests import schema
from manifests.checks.gpu import driver_fault
from manifests.combinations import check_combinations, loader_warnings
from manifests.config import (
    RunConfig,
    checkpointing,
    loading,
    observing,
    placement,
    training,
)
from manifests.config_file import read_config
from manifests.datasets.inputs import (
    Fingerprints,
    Lists,
    read_images,
    read_lists,
    read_packs,
)
from manifests.determinism import determinism_for, promises_for
from manifests.image_memory import ImageMemory
from manifests.launch import Plan, new_run
from manifests.placing import limit_problems, place, unseen_warnings
from manifests.queue import refuse_too_many_nodes
from manifests.rundir import refuse_unwritable
from manifests.snapshot import Snapshot, copy_snapshot, take_snapshot
from manifests.surroundings import TOOL_VERSION, Surroundings

if TYPE_CHECKING:
    from manifests.continuation import Continuation


def plan_submit(
    config_path: Path, around: Surroundings, *, group: Optional[str] = None, read_only: bool = False
) -> Plan:
    """Config -> Plan. ``read_only`` (a dry run) leaves even the fingerprint cache as it is.

    Raises Trouble with every problem that can be known before the run.
    """
    warnings: List[str] = []
    config = read_config(config_path)
    site = load_site(config.site, profile_folders(around.environ))
    world = world_of(config, site)
    asked = placement(config)
    asked = asked.model_copy(update={"group": group}) if group else asked
    placed = place(asked, site, world, config.stack)
    refuse_unwritable(config.out)
    lists = read_inputs(config)
    refuse_combinations(config, site, world, lists)
    warnings += processor_warnings(promises_for(config.stack), site, around)
    warnings += driver_warnings(
        config.stack, promises_for(config.stack), site.scheduler, around,
        instead="or write `stack: cpu` into the config",
    )  # fmt: skip
    if not read_only:
        refuse_too_many_nodes(placed, config.nnodes, around)
    before = beginning(config, warnings)
    runtime = find_runtime(around.project, around.environ)
    recipe = load_recipe(around.project, config.stack)
    warnings += host_mpi_warnings(site, placed, image_mpi(recipe))
    memory = ImageMemory(around.cache.root, read_only=read_only)
    image = built_image(recipe, around, memory.digest)
    data = [config.train_root, config.val_root, config.train_pack, config.val_pack]
    snapshot = take_snapshot(around.project, exclude=[config.out, *data])
    images = fingerprints(config, lists, recipe, around, read_only=read_only)
    initmodel = read_initmodel(config)
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
        circumstance=circumstance_of(config, config_path, image, snapshot, placed, before, around),
        promises=promises_for(config.stack),
        recipe=schema.Recipe(stack=recipe.stack, files=dict(recipe.files)),
    )
    files = new_run(config.out, config.jobname, around.now(), manifest.identity_digest)

    def fill(target: schema.RunFiles) -> None:
        atomic.write_bytes(target.config, config_path.read_bytes())
        copy_snapshot(snapshot, target.code)
        target.inputs.mkdir()
        atomic.write_bytes(target.train_table, images.train.table)
        atomic.write_bytes(target.val_table, images.val.table)
        atomic.write_bytes(target.mean, lists.mean.data)
        if initmodel is not None:
            atomic.write_bytes(target.initmodel, initmodel[1])
        if before is not None:
            before.copy_to(target)

    host = host_of(runtime, image.path, around, memory)

    def render(files: schema.RunFiles) -> str:
        return render_script(manifest, files, site, host)

    warnings += [
        *lists.warnings,
        *images.warnings,
        *loader_warnings(
            loading(config),
            world.ranks // world.nodes,
            site.cores_of_a_node(config.nnodetype, around.cores),
        ),
        *unseen_warnings(site, manifest.circumstance.paths),
    ]
    return Plan(
        files=files,
        manifest=manifest,
        script=render(files),
        render=render,
        fill=fill,
        warnings=[*warnings, *script_warnings(manifest, site)],
    )


def world_of(config: RunConfig, site: Site) -> schema.World:
    per_node = site.ranks_on_a_node(config.nnodetype, config.ranks_per_node)
    return schema.World(ranks=per_node * config.nnodes, nodes=config.nnodes)


def beginning(config: RunConfig, warnings: List[str]) -> Optional[Continuation]:
    """The run that this one goes on from, where the config names one."""
    if config.resume is None:
        return None
    from manifests.continuation import read_continuation

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


def fingerprints(
    config: RunConfig, lists: Lists, recipe: Recipe, around: Surroundings, *, read_only: bool
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
        cache_folder=None if read_only else around.cache.root / "fingerprints",
        progress=around.progress,
    )


def refuse_combinations(config: RunConfig, site: Site, world: schema.World, lists: Lists) -> None:
    problems = check_combinations(
        config,
        limits=limit_problems(site, config.nnodetype, config.nnodes, config.walltime),
        ranks=world.ranks,
        train_samples=len(lists.train.paths),
        val_samples=len(lists.val.paths),
    )
    if problems:
        raise Trouble(problems, "change these keys; docs/configuration.md lists every key")


def refuse_processor(promises: schema.Promises, around: Surroundings) -> None:
    """Refuse before launch what could not give the promised bits: a processor without a feature."""
    missing = sorted(set(promises.cpu_features) - around.cpu_features)
    if missing:
        raise Trouble(
            f"this machine's processor lacks {', '.join(missing)}: "
            "the bits would not be those of other machines",
            "run on a processor of the x86-64-v3 kind (Intel Haswell, AMD Zen, or newer)",
        )


def processor_warnings(promises: schema.Promises, site: Site, around: Surroundings) -> List[str]:
    """On a cluster this machine is not the one that trains: there the trainer refuses, on its node.

    Raises Trouble where it is the one.
    """
    try:
        refuse_processor(promises, around)
    except Trouble as trouble:
        if site.scheduler == "local":
            raise
        return [f"{problem}; the nodes must have better ones" for problem in trouble.problems]
    return []


def driver_warnings(
    stack: str, promises: schema.Promises, scheduler: str, around: Surroundings, *, instead: str
) -> List[str]:
    """Where this machine will train, its driver must serve the stack's CUDA.

    On a cluster it need not have one: there the trainer refuses, on its node. ``instead`` ends the
    advice. Raises Trouble.
    """
    if promises.gpu is None or scheduler != "local":
        return []
    fault = driver_fault(stack, promises.gpu.driver, around.nvidia_driver(), instead)
    if fault is not None and fault.state == "fail":
        raise Trouble(fault.found, fault.advice)
    return [] if fault is None else [fault.found]


def host_mpi_warnings(site: Site, placed: schema.Placement, image_version: str) -> List[str]:
    """Ask this host's mpirun; where a job loads modules, its MPI may be another one.

    Raises Trouble when it cannot serve the image.
    """
    try:
        return mpi_warnings(find_host_mpi(site.mpirun), image_version)
    except Trouble as trouble:
        if site.scheduler != "local" and (site.modules or placed.modules):
            return [f"{problem}; the job's modules must bring one" for problem in trouble.problems]
        raise


def built_image(
    recipe: Recipe, around: Surroundings, digest: Callable[[Path], str] = image_digest
) -> Image:
    """The image built from this recipe, which ``digest`` looks at.

    Raises Trouble when there is none or it was altered.
    """
    image = recorded_image(recipe, around.cache)
    if image is None:
        raise Trouble(
            f"the image of stack {recipe.stack} is not built yet",
            f"run: python bundle.py build --stack {recipe.stack}",
        )
    fault = altered(image, digest(image.path))
    if fault is not None:
        raise altered_trouble(image, fault)
    return image


def read_initmodel(config: RunConfig) -> Optional[Tuple[str, bytes]]:
    """(sha256, bytes) of the model file to start from. Raises Trouble when it cannot be read."""
    if config.initmodel is None:
        return None
    try:
        data = config.initmodel.read_bytes()
    except OSError as error:
        raise Trouble(
            f"initmodel: {config.initmodel}: cannot be read: {error.strerror}",
            "give the path of a model file (.npz), or leave the key out",
        ) from error
    return hashlib.sha256(data).hexdigest(), data


def image_identity(image: Image) -> schema.ImageIdentity:
    return schema.ImageIdentity(
        stack=image.stack,
        sha256=image.sha256,
        size=image.size,
        lock_sha256=image.lock_sha256,
        recipe_sha256=image.recipe_sha256,
    )


def data_identity(
    lists: Lists, images: Fingerprints, initmodel: Optional[Tuple[str, bytes]]
) -> schema.DataIdentity:
    return schema.DataIdentity(
        train=images.train.identity,
        val=images.val.identity,
        mean=lists.mean.identity,
        initmodel=initmodel[0] if initmodel else None,
    )


def circumstance_of(
    config: RunConfig,
    config_path: Path,
    image: Image,
    snapshot: Snapshot,
    placed: schema.Placement,
    before: Optional[Continuation],
    around: Surroundings,
) -> schema.Circumstance:
    return schema.Circumstance(
        created=around.timestamp(),
        host=around.host,
        user=around.user,
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
    )


def host_of(
    runtime: Runtime, image: Path, around: Surroundings, memory: Optional[ImageMemory] = None
) -> Host:
    """How this host runs the image; tried on the image itself, unless ``memory`` knows."""
    options = memory.exec_options(runtime, image) if memory else runtime.exec_options(image)
    # Without setuid, Apptainer puts each rank into a user namespace of its own.
    use = ContainerUse(str(runtime.program), options, in_user_namespace=True)
    return Host(use, as_root=around.as_root)


def image_mpi(recipe: Recipe) -> str:
    """The upstream version of the Open MPI in the image, from the lock's Debian version."""
    versions: List[str] = [
        file.version for file in recipe.lock.debian.files if file.name.startswith("libopenmpi")
    ]
    return versions[0].rsplit("-", 1)[0] if versions else "unknown"
