"""Plan an old manifest's run again, from its own snapshot, config and image."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

from container.recipe import Recipe
from container.trouble import Trouble
from jobtemplates.script import LaunchContext, render_script, script_warnings
from jobtemplates.sites import Site, load_site, profile_folders
from manifests.flows.cannot_run import CannotRun
from manifests.flows.emulation import Emulation, plan_emulation
from manifests.flows.part_of_run import refuse_other_steps
from manifests.flows.plan import Plan, new_run
from manifests.flows.preflight import (
    driver_warnings,
    host_mpi_warnings,
    image_mpi,
    launch_context_of,
    options_kept_back,
    processor_warnings,
)
from manifests.flows.recorded_data import data_here, data_there, restore_step, with_paths
from manifests.flows.slice_plan import SlicePlan, plan_slice
from manifests.flows.swap import NOTHING, Swap, refuse_unfit
from manifests.flows.swapped import Swapped, listed_paths, swap_in
from manifests.flows.unfinished import refuse_unfinished
from manifests.host import asking, hosting
from manifests.host.context import TOOL_VERSION, HostContext
from manifests.host.image_memory import ImageMemory
from manifests.host.image_source import image_of_run, recipe_of_run
from manifests.host.placing import output_warnings, place_again, unseen_warnings
from manifests.record import schema
from manifests.record.run_files import RunFiles
from manifests.rundir.directory import find_run, refuse_unwritable
from manifests.rundir.records import Warn, ignore, read_manifest, read_result
from manifests.rundir.submission import refuse_too_many_nodes
from manifests.rundir.verify import ALL, before_problems
from manifests.verdict.gpu_promise import NEXT_STEP, class_problems, promises_again
from manifests.verdict.swapped_parts import swapped_parts


@dataclass(frozen=True)
class RerunRequest:
    """What a person wants of a rerun, besides the same bits.

    The new run lies in ``out``, beside the old one by default. ``moved``: old -> new place of data.
    So many ``processes`` on so many ``nodes`` compute its ranks. With ``steps`` (S, T) it runs the
    steps after S up to T only, or to the last where T is None (manifests.flows.slice_plan),
    ``traced`` with digests of the last one layer by layer. ``swap`` names what of today enters it.
    QEMU emulates the processor ``emulate``. ``other_gpu`` allows GPUs of other classes than the old
    run had. With ``read_only`` nothing is written, be it a cache.
    """

    moved: Dict[str, str] = field(default_factory=dict)
    out: Optional[Path] = None
    site: Optional[str] = None
    group: Optional[str] = None
    mirror: Optional[str] = None
    other_gpu: bool = False
    processes: Optional[int] = None
    nodes: Optional[int] = None
    steps: Optional[Tuple[int, Optional[int]]] = None
    traced: bool = False
    swap: Swap = NOTHING
    emulate: Optional[str] = None
    read_only: bool = False


@dataclass(frozen=True)
class _Basis:
    """What is known before any data are read: the old run, what was swapped in, and its place."""

    old: RunFiles
    recorded: schema.Manifest
    swapped: Swapped
    site: Site
    placed: schema.Placement
    emulation: Optional[Emulation]
    part: Optional[SlicePlan]
    warnings: List[str]

    @property
    def manifest(self) -> schema.Manifest:
        """The recorded one with what was swapped in."""
        return self.swapped.manifest

    def recipe(self) -> Recipe:
        """The swapped one, or the run's. Raises Trouble where the manifest's is damaged."""
        return self.swapped.recipe or recipe_of_run(self.manifest, str(self.old.manifest))


def plan_rerun(
    run: Path, host: HostContext, request: RerunRequest = RerunRequest(), warn: Warn = ignore
) -> Plan:
    """Old run -> Plan with the same identity, but for what the request swaps.

    Raises CannotRun with all that differs from the manifest (a byte of the snapshot, a pixel of
    an image, another image file), Trouble for what is wrong with this host.
    """
    basis = _basis(run, host, request, warn)
    circumstance, instead = _checked_data(basis, request, host)
    out = (request.out or basis.old.root.parent).resolve()
    refuse_unwritable(out)
    promises = promises_on_gpus(
        basis.old, basis.manifest, basis.site, host, other_gpu=request.other_gpu, warn=warn
    )
    warnings = [*instead, *_host_warnings(basis, request, host)]
    swapped, image = _image(basis, request, host)
    circumstance = circumstance_again(
        circumstance, basis.old, image, out, basis.placed, host, request.swap.texts
    )
    if basis.emulation is not None:
        circumstance = basis.emulation.circumstance(circumstance)
    if basis.part is not None:
        circumstance = basis.part.circumstance(circumstance, request.traced)
    manifest = swapped.manifest.model_copy(
        update={"kind": "rerun", "promises": promises, "circumstance": circumstance}
    )
    memory = ImageMemory(host.cache.root, read_only=request.read_only)
    context, launch_warnings = launch_context_of(basis.site, image, host, memory)
    warnings = [*warnings, *swapped.warnings, *launch_warnings, *memory.warnings]
    return _as_plan(basis, swapped, manifest, context, warnings, host)


def _basis(run: Path, host: HostContext, request: RerunRequest, warn: Warn) -> _Basis:
    """What costs nothing to know comes before all data are read."""
    steps, swap = request.steps, request.swap
    old = find_run(str(run))
    recorded = read_manifest(old, warn)
    refuse_unfinished(old, host, warn)
    refuse_other_steps(old, recorded, steps, request.moved)
    listed = listed_paths(swap, old, recorded, host)
    there = data_here(old, recorded.circumstance, request.moved, swap, listed)
    swapped = swap_in(swap, old, recorded, there, request.moved, host, read_only=request.read_only)
    manifest = swapped.manifest
    if steps is not None and steps[0] > 0:
        ranks = {one.identity.world.ranks for one in (recorded, manifest)}
        refuse_unfit(swap, steps[0], other_ranks=len(ranks) > 1)
    site = load_site(
        request.site or manifest.circumstance.placement.site, profile_folders(host.environ)
    )
    placed, warnings = place_again(manifest, site, request.group, request.processes, request.nodes)
    impossible = hosting.refusal(manifest, placed.layout(manifest.identity.world))
    if impossible is not None:
        raise CannotRun(*impossible)
    emulation = plan_emulation(request.emulate, manifest, site, host)
    part = None if steps is None else plan_slice(old, manifest, *steps, warn)
    return _Basis(old, recorded, swapped, site, placed, emulation, part, warnings)


def _checked_data(
    basis: _Basis, request: RerunRequest, host: HostContext
) -> Tuple[schema.Circumstance, List[str]]:
    """Where the data are, and a warning where images stand in for packs. Raises CannotRun where
    snapshot, inputs or data are not those of the manifest."""
    host.progress.stage("verifying snapshot, inputs and data")
    circumstance, instead = data_there(basis.manifest.circumstance)
    if instead and "loadtype" in request.swap.keys:
        raise Trouble(
            f"--with loadtype={request.swap.keys['loadtype']}: {instead[0].partition(';')[0]}",
            "pack the images: python bundle.py data pack LIST",
        )
    problems = before_problems(
        basis.old,
        basis.recorded.model_copy(update={"recipe": basis.manifest.recipe}),
        circumstance=circumstance,
        cache_folder=host.fingerprints(read_only=request.read_only),
        progress=host.progress,
        needed=basis.part.needed if basis.part else ALL,
        swapped=request.swap.parts,
    )
    if problems:
        raise CannotRun([*instead, *problems], restore_step(basis.manifest.circumstance))
    return circumstance, instead


def _host_warnings(basis: _Basis, request: RerunRequest, host: HostContext) -> List[str]:
    """Raises Trouble where this host or the site cannot run it."""
    manifest, site = basis.manifest, basis.site
    warnings = [] if basis.emulation else processor_warnings(manifest.promises, site, host)
    warnings += driver_warnings(
        manifest.recipe.stack, manifest.promises, site.scheduler, host,
        instead=lambda: "or name with --site a cluster that has them",
    )  # fmt: skip
    if not request.read_only:
        nodes = basis.placed.layout(manifest.identity.world).nodes
        refuse_too_many_nodes(basis.placed, nodes, host, site)
    mpi = host_mpi_warnings(site, basis.placed, image_mpi(basis.recipe()), host)
    return [*warnings, *basis.warnings, *options_kept_back(site, host), *mpi]


def _image(basis: _Basis, request: RerunRequest, host: HostContext) -> Tuple[Swapped, Path]:
    """The image, found or built. Raises CannotRun where it cannot be had."""
    may_build = not request.read_only
    swapped = basis.swapped.with_images(host, basis.recipe(), read_only=request.read_only)
    try:
        if swapped.recipe is not None:
            built = swapped.image(host, request.mirror, may_build=may_build)
            return swapped.with_image(built), built.path
        where = str(basis.old.manifest)
        return swapped, image_of_run(
            basis.manifest, host, mirror=request.mirror, may_build=may_build, where=where,
            own=basis.old,
        )  # fmt: skip
    except Trouble as error:
        raise CannotRun(error.problems, error.next_step) from error


def _as_plan(
    basis: _Basis,
    swapped: Swapped,
    manifest: schema.Manifest,
    context: LaunchContext,
    warnings: Sequence[str],
    host: HostContext,
) -> Plan:
    circumstance, part, emulation = manifest.circumstance, basis.part, basis.emulation
    other = manifest.identity != basis.recorded.identity
    jobname = circumstance.placement.jobname
    files = new_run(Path(circumstance.paths.out), jobname, host.now(), manifest.identity_digest)

    def fill(target: RunFiles) -> None:
        swapped.fill(basis.old, target)
        if part is not None:
            part.fill(basis.old, target, manifest if other else None)
        if emulation is not None:
            emulation.fill(target)

    def render(files: RunFiles) -> str:
        return render_script(manifest, files, basis.site, context)

    return Plan(
        files=files,
        manifest=manifest,
        script=render(files),
        render=render,
        fill=fill,
        warnings=[
            *warnings,
            *unseen_warnings(basis.site, circumstance.paths),
            *output_warnings(basis.site, files.root),
            *script_warnings(manifest, basis.site),
        ],
        notes=[
            *(part.notes() if part else []),
            *(f"swapped on purpose: {one.text}" for one in swapped_parts(basis.recorded, manifest)),
            *hosting.notes(basis.manifest, basis.placed),
            *([emulation.note] if emulation else []),
        ],
    )


def promises_on_gpus(
    old: RunFiles,
    manifest: schema.Manifest,
    site: Site,
    host: HostContext,
    *,
    other_gpu: bool,
    warn: Warn,
) -> schema.Promises:
    """What the rerun promises. Raises CannotRun where this host would run it on other GPUs."""
    promises = manifest.promises
    seen = None if promises.gpu is None else read_result(old, warn).observed.gpus
    again = promises_again(promises, seen, other_gpu=other_gpu)
    if again.gpu is not None and site.backend.runs_here:
        problems = class_problems(again.gpu, asking.look_at_gpus().names, host.hostname)
        if problems:
            raise CannotRun(problems, NEXT_STEP)
    return again


def circumstance_again(
    before: schema.Circumstance,
    old: RunFiles,
    image: Path,
    out: Path,
    placement: schema.Placement,
    host: HostContext,
    swapped: Sequence[str] = (),
) -> schema.Circumstance:
    """``before`` is that of the old run, with the data where it is now."""
    return with_paths(before, {"image": str(image), "out": str(out)}).model_copy(
        update={
            "created": host.timestamp(),
            "host": host.hostname,
            "user": host.user,
            "tool_version": TOOL_VERSION,
            "placement": placement,
            "rerun_of": str(old.root),
            "swapped": list(swapped) or None,
            "emulated": None,
            "resumed": None,  # it begins with the first step: that is what proves the resumption
        }
    )
