"""Run an old manifest again from its own snapshot, config and image, and judge the bits."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

from container import atomic
from container.reachable import file_here, folder_here
from container.trouble import Trouble
from jobtemplates.script import quoted, render_script, script_warnings
from jobtemplates.sites import Site, load_site, profile_folders
from manifests.flows.plan import Plan, new_run
from manifests.flows.preflight import (
    driver_warnings,
    host_mpi_warnings,
    image_mpi,
    launch_context_of,
    processor_warnings,
)
from manifests.host import asking, hosting
from manifests.host.context import TOOL_VERSION, HostContext
from manifests.host.image_source import image_of_run, recipe_of_run
from manifests.host.placing import output_warnings, place_again, unseen_warnings
from manifests.record import schema
from manifests.record.run_files import RunFiles
from manifests.rundir.directory import find_run, refuse_unwritable, state_of
from manifests.rundir.own_data import with_own_data
from manifests.rundir.queue import Queues
from manifests.rundir.records import Warn, ignore, read_failure, read_manifest, read_result
from manifests.rundir.snapshot import copy_recorded
from manifests.rundir.submission import refuse_too_many_nodes
from manifests.rundir.verify import before_problems
from manifests.verdict import comparison
from manifests.verdict.compare import compare
from manifests.verdict.comparison import Comparison
from manifests.verdict.gpu_promise import NEXT_STEP, class_problems, promises_again
from manifests.verdict.run_record import load_record


class CannotRun(Trouble):
    """What was promised cannot be repeated here; every problem names its evidence."""


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
    read_only: bool = False,
    warn: Warn = ignore,
) -> Plan:
    """Old run -> Plan with the same identity, in ``out`` (beside the old one by default).

    So many ``processes`` on so many ``nodes`` compute its ranks. Nothing of the working tree enters
    it. Its GPUs must be of the classes that the old run had, if
    it had any; of any class with ``other_gpu``.

    Raises CannotRun with all that differs from the manifest (a byte of the snapshot, a pixel of
    an image, another image file), Trouble for what is wrong with this host.
    """
    old = find_run(str(run))
    manifest = read_manifest(old, warn)
    refuse_unfinished(old, host, warn)
    site = load_site(
        site_name or manifest.circumstance.placement.site, profile_folders(host.environ)
    )
    # What costs nothing to know comes before all data are read.
    placed, left_behind = place_again(manifest, site, group, processes, nodes)
    layout = placed.layout(manifest.identity.world)
    impossible = hosting.refusal(manifest, layout)
    if impossible is not None:
        raise CannotRun(*impossible)
    host.progress.stage("verifying snapshot, inputs and data")
    circumstance, instead = data_there(data_here(old, manifest.circumstance, moved))
    problems = before_problems(
        old, manifest, circumstance=circumstance,
        cache_folder=None if read_only else host.cache.root / "fingerprints",
        progress=host.progress,
    )  # fmt: skip
    if problems:
        raise CannotRun([*instead, *problems], restore_step(manifest.circumstance))
    out = (out or old.root.parent).resolve()
    refuse_unwritable(out)
    promises = promises_on_gpus(old, manifest, site, host, other_gpu=other_gpu, warn=warn)
    warnings = processor_warnings(manifest.promises, site, host)
    warnings += driver_warnings(
        manifest.identity.image.stack, manifest.promises, site.scheduler, host,
        instead=lambda: "or name with --site a cluster that has them",
    )  # fmt: skip
    if not read_only:
        refuse_too_many_nodes(placed, layout.nodes, host, site)
    recipe = recipe_of_run(manifest, str(old.manifest))
    warnings += [*left_behind, *host_mpi_warnings(site, placed, image_mpi(recipe), host)]
    try:
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
    again = manifest.model_copy(
        update={
            "kind": "rerun",
            "promises": promises,
            "circumstance": circumstance_again(circumstance, old, image, out, placed, host),
        }
    )
    jobname = again.circumstance.placement.jobname
    files = new_run(out, jobname, host.now(), manifest.identity_digest)

    def fill(target: RunFiles) -> None:
        shutil.copyfile(old.config, target.config)
        copy_recorded(old.code, target.code, manifest)
        shutil.copytree(old.inputs, target.inputs)

    launch_context, launch_warnings = launch_context_of(site, image, host)

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
            *warnings,
            *launch_warnings,
            *unseen_warnings(site, again.circumstance.paths),
            *output_warnings(site, files.root),
            *script_warnings(again, site),
        ],
        notes=hosting.notes(manifest, placed),
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
    state, why, _ = state_of(files, Queues(host), warn)
    what, step = UNFINISHED.get(state, (f"is {state}{f': {why}' if why else ''}", ""))
    raise CannotRun(
        f"{files.root}: {what}: there is nothing to compare with",
        step.format(run=quoted(str(files.root))) or "see where it was submitted: status",
    )


def parse_moved(moved: Sequence[str]) -> Dict[str, str]:
    """``OLD=NEW`` texts -> mapping. Raises Trouble for a text without both sides."""
    wrong = [f"--data {text}: expected OLD=NEW" for text in moved if not all(text.partition("="))]
    if wrong:
        raise Trouble(wrong, "for instance: --data /old/imagenet=/new/imagenet")
    return dict(text.split("=", 1) for text in moved)


#: Recorded paths of data, which ``--data OLD=NEW`` moves.
DATA = ("train_root", "val_root", "train_pack", "val_pack")


def data_here(
    files: RunFiles, circumstance: schema.Circumstance, moved: Dict[str, str]
) -> schema.Circumstance:
    """Where the data is now: as :func:`data_moved`, else in the run directory itself."""
    return with_own_data(files, circumstance, data_moved(circumstance, moved))


def data_moved(circumstance: schema.Circumstance, moved: Dict[str, str]) -> schema.Circumstance:
    """Where the data is now: recorded paths with a leading folder OLD replaced by NEW.

    Raises Trouble when an OLD of ``moved`` fits none of them.
    """
    values = {name: getattr(circumstance.paths, name) for name in DATA}
    recorded = {name: Path(value) for name, value in values.items() if value is not None}
    used = set()
    now = {}
    for name, path in recorded.items():
        for old, new in moved.items():
            if Path(old) == path or Path(old) in path.parents:
                now[name] = str(Path(new).resolve() / path.relative_to(old))
                used.add(old)
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
            "resumed": None,  # it begins with the first step: that is what proves the resumption
        }
    )


def compare_runs(first: Path, second: Path, warn: Warn = ignore) -> Comparison:
    a, b = (load_record(find_run(str(run)), warn) for run in (first, second))
    return compare(a, b)


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
    return verdict.model_copy(update={"b": str(again.root)})


def cannot_run(old: Path, error: CannotRun) -> Comparison:
    return comparison.cannot_run(str(old), error.problems, error.next_step)
