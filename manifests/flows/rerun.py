"""Run an old manifest again from its own snapshot, config and image, and judge the bits."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

from container import atomic
from container.reachable import file_here, folder_here
from container.trouble import Trouble
from jobtemplates.script import quoted, render_script, script_warnings
from jobtemplates.sites import Site, load_site, profile_folders
from manifests.flows.cannot_run import CannotRun
from manifests.flows.emulation import plan_emulation
from manifests.flows.part_of_run import refuse_other_steps
from manifests.flows.plan import Plan, new_run
from manifests.flows.preflight import (
    driver_warnings,
    host_mpi_warnings,
    image_mpi,
    launch_context_of,
    processor_warnings,
)
from manifests.flows.slice_plan import plan_slice
from manifests.flows.swap import NOTHING, Swap
from manifests.flows.swapped import listed_paths, path_moved, swap_in
from manifests.host import asking, hosting
from manifests.host.context import TOOL_VERSION, HostContext
from manifests.host.image_memory import ImageMemory
from manifests.host.image_source import image_of_run, recipe_of_run
from manifests.host.placing import output_warnings, place_again, unseen_warnings
from manifests.record import schema
from manifests.record.run_files import RunFiles
from manifests.rundir.directory import find_run, refuse_unwritable, state_of
from manifests.rundir.own_data import with_own_data
from manifests.rundir.queue import Queues
from manifests.rundir.records import Warn, ignore, read_failure, read_manifest, read_result
from manifests.rundir.submission import refuse_too_many_nodes
from manifests.rundir.verify import ALL, before_problems
from manifests.verdict import comparison
from manifests.verdict.comparison import Comparison
from manifests.verdict.gpu_promise import NEXT_STEP, class_problems, promises_again
from manifests.verdict.run_pair import compare_read_runs, read_for_comparison
from manifests.verdict.span import not_run
from manifests.verdict.swapped_parts import judged, swapped_parts


def plan_rerun(
    run: Path,
    host: HostContext,
    *,
    moved: Dict[str, str],
    out: Optional[Path] = None,
    site_name: Optional[str] = None,
    group: Optional[str] = None,
    mirror: Optional[str] = None,
    other_gpu: bool = False,
    processes: Optional[int] = None,
    nodes: Optional[int] = None,
    steps: Optional[Tuple[int, Optional[int]]] = None,
    traced: bool = False,
    swap: Swap = NOTHING,
    emulate: Optional[str] = None,
    read_only: bool = False,
    warn: Warn = ignore,
) -> Plan:
    """Old run -> Plan with the same identity, in ``out`` (beside the old one by default).

    With ``steps`` (S, T) it runs the steps after S up to T only, or to the last where T is None
    (manifests.flows.slice_plan), ``traced`` with digests of the last one layer by layer.

    So many ``processes`` on so many ``nodes`` compute its ranks. Nothing of the working tree enters
    it but what ``swap`` names. Its GPUs must be of the classes that the old run had, if
    it had any; of any class with ``other_gpu``. QEMU emulates the processor ``emulate``.

    Raises CannotRun with all that differs from the manifest (a byte of the snapshot, a pixel of
    an image, another image file), Trouble for what is wrong with this host.
    """
    if steps is not None and steps[0] > 0 and swap.texts:
        raise Trouble(
            f"--from-step {steps[0]}: not together with --with {swap.texts[0]}: "
            "a state belongs to the run that made it",
            "swap parts from the first step on: --to-step T alone",
        )
    old = find_run(str(run))
    recorded = read_manifest(old, warn)
    refuse_unfinished(old, host, warn)
    refuse_other_steps(old, recorded, steps, moved)
    listed = listed_paths(swap, old, recorded, host)
    there = data_here(old, recorded.circumstance, moved, swap, listed)
    swapped = swap_in(swap, old, recorded, there, moved, host, read_only=read_only)
    manifest = swapped.manifest
    site = load_site(
        site_name or manifest.circumstance.placement.site, profile_folders(host.environ)
    )
    # What costs nothing to know comes before all data are read.
    placed, left_behind = place_again(manifest, site, group, processes, nodes)
    layout = placed.layout(manifest.identity.world)
    impossible = hosting.refusal(manifest, layout)
    if impossible is not None:
        raise CannotRun(*impossible)
    emulation = plan_emulation(emulate, manifest, site, host)
    part = None if steps is None else plan_slice(old, manifest, *steps, warn)
    host.progress.stage("verifying snapshot, inputs and data")
    circumstance, instead = data_there(manifest.circumstance)
    if instead and "loadtype" in swap.keys:
        raise Trouble(
            f"--with loadtype={swap.keys['loadtype']}: {instead[0].partition(';')[0]}",
            "pack the images: python bundle.py data pack LIST",
        )
    problems = before_problems(
        old, recorded.model_copy(update={"recipe": manifest.recipe}), circumstance=circumstance,
        cache_folder=host.fingerprints(read_only=read_only),
        progress=host.progress, needed=part.needed if part else ALL, swapped=swap.parts,
    )  # fmt: skip
    if problems:
        raise CannotRun([*instead, *problems], restore_step(manifest.circumstance))
    out = (out or old.root.parent).resolve()
    refuse_unwritable(out)
    promises = promises_on_gpus(old, manifest, site, host, other_gpu=other_gpu, warn=warn)
    warnings = [] if emulation else processor_warnings(manifest.promises, site, host)
    warnings += driver_warnings(
        manifest.recipe.stack, manifest.promises, site.scheduler, host,
        instead=lambda: "or name with --site a cluster that has them",
    )  # fmt: skip
    if not read_only:
        refuse_too_many_nodes(placed, layout.nodes, host, site)
    recipe = swapped.recipe or recipe_of_run(manifest, str(old.manifest))
    warnings += [*left_behind, *host_mpi_warnings(site, placed, image_mpi(recipe), host)]
    swapped = swapped.with_images(host, recipe, read_only=read_only)
    try:
        if swapped.recipe is not None:
            built = swapped.image(host, mirror, may_build=not read_only)
            image, swapped = built.path, swapped.with_image(built)
        else:
            image = image_of_run(
                manifest,
                host,
                mirror=mirror,
                may_build=not read_only,
                where=str(old.manifest),
                own=old,
            )
    except Trouble as error:
        raise CannotRun(error.problems, error.next_step) from error
    circumstance = circumstance_again(circumstance, old, image, out, placed, host, swap.texts)
    if emulation is not None:
        circumstance = emulation.circumstance(circumstance)
    manifest = swapped.manifest
    again = manifest.model_copy(
        update={
            "kind": "rerun",
            "promises": promises,
            "circumstance": part.circumstance(circumstance, traced) if part else circumstance,
        }
    )
    jobname = again.circumstance.placement.jobname
    files = new_run(out, jobname, host.now(), manifest.identity_digest)

    def fill(target: RunFiles) -> None:
        swapped.fill(old, target)
        if part is not None:
            part.fill(old, target)
        if emulation is not None:
            emulation.fill(target)

    memory = ImageMemory(host.cache.root, read_only=read_only)
    launch_context, launch_warnings = launch_context_of(site, image, host, memory)

    def render(files: RunFiles) -> str:
        return render_script(again, files, site, launch_context)

    return Plan(
        files=files,
        manifest=again,
        script=render(files),
        render=render,
        fill=fill,
        warnings=[
            *instead,
            *swapped.warnings,
            *warnings,
            *launch_warnings,
            *memory.warnings,
            *unseen_warnings(site, again.circumstance.paths),
            *output_warnings(site, files.root),
            *script_warnings(again, site),
        ],
        notes=[
            *(part.notes() if part else []),
            *(f"swapped on purpose: {item.text}" for item in swapped_parts(recorded, again)),
            *hosting.notes(manifest, placed),
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


#: State of a run without a result -> what it is, and what to do.
UNFINISHED = {
    "prepared": ("was never started", "start it: python bundle.py resume {run}"),
    "queued": ("waits in its queue", "wait for its end: python bundle.py logs -f {run}"),
    "running": ("is still running", "wait for its end: python bundle.py logs -f {run}"),
    "stopped": ("stopped at a checkpoint", "resume it: python bundle.py resume {run}"),
    "cancelled": ("was cancelled", "resume it: python bundle.py resume {run}"),
    "failed": ("failed", "see why: python bundle.py show {run}"),
}


def refuse_unfinished(files: RunFiles, host: HostContext, warn: Warn) -> None:
    """Raise CannotRun unless the run has its result."""
    if files.done.exists():
        return
    what, step = why_unfinished(files, host, warn)
    raise CannotRun(f"{files.root}: {what}: there is nothing to compare with", step)


def why_unfinished(files: RunFiles, host: HostContext, warn: Warn) -> Tuple[str, str]:
    """Why a run has no result, and what to do next."""
    state, why, _ = state_of(files, Queues(host), warn)
    what, step = UNFINISHED.get(state, (f"is {state}{f': {why}' if why else ''}", ""))
    return what, step.format(run=quoted(str(files.root))) or "see where it was submitted: status"


def parse_moved(moved: Sequence[str]) -> Dict[str, str]:
    """``OLD=NEW`` texts -> mapping. Raises Trouble for a text without both sides."""
    wrong = [f"--data {text}: expected OLD=NEW" for text in moved if not all(text.partition("="))]
    if wrong:
        raise Trouble(wrong, "for instance: --data /old/imagenet=/new/imagenet")
    return dict(text.split("=", 1) for text in moved)


#: Recorded paths of data, which ``--data OLD=NEW`` moves.
DATA = ("train_root", "val_root", "train_pack", "val_pack")


def data_here(
    files: RunFiles,
    circumstance: schema.Circumstance,
    moved: Dict[str, str],
    swap: Swap = NOTHING,
    listed: Sequence[str] = (),
) -> schema.Circumstance:
    """Where the data is now: as :func:`data_moved`, else in the run directory itself, unless the
    data of today are wanted."""
    now = data_moved(circumstance, moved, listed)
    return now if swap.has("data") else with_own_data(files, circumstance, now)


def data_moved(
    circumstance: schema.Circumstance, moved: Dict[str, str], listed: Sequence[str] = ()
) -> schema.Circumstance:
    """Where the data is now: recorded paths with a leading folder OLD replaced by NEW.

    Raises Trouble when an OLD of ``moved`` fits none of them, nor of the paths ``listed``.
    """
    values = {name: getattr(circumstance.paths, name) for name in DATA}
    recorded = {name: Path(value) for name, value in values.items() if value is not None}
    used = {old for path in listed for old in path_moved(path, moved)[1]}
    now = {}
    for name, path in recorded.items():
        now[name], fitting = path_moved(str(path), moved)
        used.update(fitting)
    unused = sorted(set(moved) - used)
    if unused:
        raise Trouble(
            [f"--data {old}={moved[old]}: no recorded data lies below {old}" for old in unused],
            "recorded roots: " + ", ".join(str(path) for path in sorted(set(recorded.values()))),
        )
    return _with_paths(circumstance, now)


def _with_paths(
    circumstance: schema.Circumstance, paths: Mapping[str, Optional[str]]
) -> schema.Circumstance:
    return circumstance.model_copy(update={"paths": circumstance.paths.model_copy(update=paths)})


def data_there(circumstance: schema.Circumstance) -> Tuple[schema.Circumstance, List[str]]:
    """Let the images stand in for packed files that are gone: how samples are loaded decides no
    bit. The warning says so."""
    paths = circumstance.paths
    packs = [pack for pack in (paths.train_pack, paths.val_pack) if pack is not None]
    gone = [pack for pack in packs if not file_here(pack)]
    roots = sorted({paths.train_root, paths.val_root})
    if not gone or not all(folder_here(root) for root in roots):
        return circumstance, []
    original = circumstance.loading.model_copy(update={"loadtype": "original"})
    again = _with_paths(circumstance, {"train_pack": None, "val_pack": None})
    return again.model_copy(update={"loading": original}), [
        f"packed data is gone: {', '.join(gone)}; loadtype original is used instead of custom, "
        f"with the images in {', '.join(roots)}"
    ]


def restore_step(circumstance: schema.Circumstance) -> str:
    moved = "for data that moved: --data OLD=NEW"
    if circumstance.loading.loadtype == "custom":
        again = "pack the images again (python bundle.py data pack LIST)"
        return f"restore what was altered, or {again}; {moved}"
    return f"restore what was altered; {moved}"


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
    return _with_paths(before, {"image": str(image), "out": str(out)}).model_copy(
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


def compare_runs(first: Path, second: Path, warn: Warn = ignore) -> Comparison:
    a, b = (read_for_comparison(find_run(str(run)), warn) for run in (first, second))
    return compare_read_runs(a, b).comparison


def judge(old: Path, again: RunFiles, warn: Warn = ignore) -> Comparison:
    """Compare the ended rerun with its original and keep the verdict in ``verdict.json``."""
    comparison = refused(old, again, warn) or compare_runs(old, again.root, warn)
    atomic.write_json(again.verdict, comparison.model_dump(mode="json"))
    return comparison


def refused(old: Path, again: RunFiles, warn: Warn = ignore) -> Optional[Comparison]:
    """The verdict where the trainer found that its machine cannot give the promised bits."""
    failure = None if again.done.exists() else read_failure(again, warn)
    if failure is None or not failure.cannot_promise:
        return None
    verdict = comparison.cannot_run(str(old), [failure.message], failure.next_step)
    manifest = read_manifest(again, warn)
    part = manifest.circumstance.slice
    steps = None if part is None else not_run(part, manifest.identity.steps)
    verdict = verdict.model_copy(update={"b": str(again.root), "steps": steps})
    return judged(verdict, read_manifest(find_run(str(old))), manifest)


def cannot_run(old: Path, error: CannotRun) -> Comparison:
    return comparison.cannot_run(str(old), error.problems, error.next_step)
