"""Run an old manifest again from its own snapshot, config and image, and judge the bits."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Dict, List, Optional, Sequence

from container import atomic
from container.runtime import find_runtime
from container.trouble import Trouble
from jobtemplates.mpi import find_host_mpi, mpi_warnings
from jobtemplates.script import render_script, script_warnings
from jobtemplates.sites import load_site, profile_folders
from manifests import comparison, schema
from manifests.compare import compare
from manifests.comparison import Comparison
from manifests.image_source import find_image_of_run, image_of_run, recipe_of_run
from manifests.launch import Plan, job_is_alive, new_run
from manifests.records import Warn, ignore, read_manifest
from manifests.run_record import load_record
from manifests.rundir import find_run, refuse_unwritable
from manifests.submit import host_of, image_mpi, refuse_processor
from manifests.surroundings import TOOL_VERSION, Surroundings
from manifests.verify import before_problems, verify_run


class CannotRun(Trouble):
    """What was promised cannot be repeated here; every problem names its evidence."""


def plan_rerun(
    run: Path,
    around: Surroundings,
    *,
    moved: Dict[str, str],
    out: Optional[Path] = None,
    site_name: Optional[str] = None,
    mirror: Optional[str] = None,
    read_only: bool = False,
    warn: Warn = ignore,
) -> Plan:
    """Old run -> Plan with the same identity, in ``out`` (beside the old one by default).

    Nothing of the working tree enters it.

    Raises CannotRun with all that differs from the manifest (a byte of the snapshot, a pixel of
    an image, another image file), Trouble for what is wrong with this host.
    """
    old = find_run(str(run))
    manifest = read_manifest(old, warn)
    around.progress.stage("holding snapshot, inputs and data against the manifest")
    roots = data_roots(manifest, moved)
    problems = before_problems(
        old, manifest, train_root=roots["train"], val_root=roots["val"],
        cache_folder=None if read_only else around.cache.root / "fingerprints",
        progress=around.progress,
    )  # fmt: skip
    if not old.done.exists():
        problems.append(f"{old.root}: {unfinished(old, around)}: there is nothing to compare with")
    if problems:
        raise CannotRun(problems, "restore what was altered; for data that moved: --data OLD=NEW")
    out = (out or old.root.parent).resolve()
    refuse_unwritable(out)
    refuse_processor(manifest.promises, around)
    site = load_site(
        site_name or manifest.circumstance.placement.site, profile_folders(around.environ)
    )
    mpi = find_host_mpi(site.mpirun)
    runtime = find_runtime(around.project, around.environ)
    try:
        image = image_of_run(
            manifest, around, mirror=mirror, may_build=not read_only, where=str(old.manifest)
        )
    except Trouble as error:
        raise CannotRun(error.problems, error.next_step) from error
    again = manifest.model_copy(
        update={
            "kind": "rerun",
            "circumstance": circumstance_again(manifest, old, image, roots, out, site.name, around),
        }
    )
    jobname = again.circumstance.placement.jobname
    files = new_run(out, jobname, around.now(), manifest.identity_digest)

    def fill(target: schema.RunFiles) -> None:
        shutil.copyfile(old.config, target.config)
        shutil.copytree(old.code, target.code)
        shutil.copytree(old.inputs, target.inputs)

    return Plan(
        files=files,
        manifest=again,
        script=render_script(again, files, site, host_of(runtime, image, around)),
        fill=fill,
        warnings=[
            *mpi_warnings(mpi, image_mpi(recipe_of_run(manifest, str(old.manifest)))),
            *script_warnings(again, site),
        ],
    )


def unfinished(files: schema.RunFiles, around: Surroundings) -> str:
    alive = job_is_alive(files, around.host)
    return "is still running" if alive else "did not end well (no DONE)"


def parse_moved(moved: Sequence[str]) -> Dict[str, str]:
    """``OLD=NEW`` texts -> mapping. Raises Trouble for a text without both sides."""
    wrong = [f"--data {text}: expected OLD=NEW" for text in moved if not all(text.partition("="))]
    if wrong:
        raise Trouble(wrong, "for instance: --data /old/imagenet=/new/imagenet")
    return dict(text.split("=", 1) for text in moved)


def data_roots(manifest: schema.Manifest, moved: Dict[str, str]) -> Dict[str, Path]:
    """Where the images are now: recorded roots with a leading folder OLD replaced by NEW.

    Raises Trouble when an OLD of ``moved`` fits neither root.
    """
    recorded = {
        "train": Path(manifest.circumstance.paths.train_root),
        "val": Path(manifest.circumstance.paths.val_root),
    }
    used = set()
    roots = dict(recorded)
    for name, root in recorded.items():
        for old, new in moved.items():
            if Path(old) == root or Path(old) in root.parents:
                roots[name] = Path(new).resolve() / root.relative_to(old)
                used.add(old)
    unused = sorted(set(moved) - used)
    if unused:
        raise Trouble(
            [f"--data {old}={moved[old]}: no recorded data lies below {old}" for old in unused],
            "recorded roots: " + ", ".join(str(root) for root in sorted(set(recorded.values()))),
        )
    return roots


def circumstance_again(
    manifest: schema.Manifest,
    old: schema.RunFiles,
    image: Path,
    roots: Dict[str, Path],
    out: Path,
    site: str,
    around: Surroundings,
) -> schema.Circumstance:
    before = manifest.circumstance
    paths = before.paths.model_copy(
        update={
            "image": str(image),
            "train_root": str(roots["train"]),
            "val_root": str(roots["val"]),
            "out": str(out),
        }
    )
    return before.model_copy(
        update={
            "created": around.timestamp(),
            "host": around.host,
            "user": around.user,
            "tool_version": TOOL_VERSION,
            "paths": paths,
            "placement": before.placement.model_copy(update={"site": site}),
            "rerun_of": str(old.root),
            "resumed": None,  # it begins with the first step: that is what proves the resumption
        }
    )


def compare_runs(first: Path, second: Path, warn: Warn = ignore) -> Comparison:
    records = [load_record(find_run(str(run)), warn) for run in (first, second)]
    return compare(*records)


def judge(old: Path, again: schema.RunFiles, warn: Warn = ignore) -> Comparison:
    """Compare the finished rerun with its original and keep the verdict in ``verdict.json``."""
    comparison = compare_runs(old, again.root, warn)
    atomic.write_json(again.verdict, comparison.model_dump(mode="json"))
    return comparison


def cannot_run(old: Path, error: CannotRun) -> Comparison:
    return comparison.cannot_run(str(old), error.problems, error.next_step)


def verify_whole(
    run: Path,
    around: Surroundings,
    *,
    moved: Dict[str, str],
    check_data: bool,
    warn: Warn = ignore,
) -> List[str]:
    """Every mismatch between a run directory, its image, its data and its manifest."""
    files = find_run(str(run))
    manifest = read_manifest(files)
    roots = data_roots(manifest, moved)
    return verify_run(
        files,
        image_path=lambda _identity: find_image_of_run(manifest, around),
        progress=around.progress,
        check_data=check_data,
        train_root=roots["train"],
        val_root=roots["val"],
        cache_folder=around.cache.root / "fingerprints",
        warn=warn,
    )
