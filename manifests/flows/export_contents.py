"""What of a run directory goes into an export: files that bundle writes, each named here"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Iterator, List, Optional, Sequence

from container.reachable import file_here, file_problem
from container.trouble import Trouble
from manifests.crate.names import DESCRIPTIONS
from manifests.record.checkpoint_names import step_of
from manifests.record.outcome import Result
from manifests.record.run_files import RunFiles
from manifests.record.schema import Manifest
from manifests.rundir.export_file import Member, of_bytes
from manifests.rundir.job import read_job
from manifests.rundir.readme import readme_text
from manifests.rundir.records import Warn, read_object
from manifests.rundir.snapshot import recorded_files
from manifests.rundir.tar_members import name_problem
from manifests.verdict.rerun_verdicts import verdict_files

#: What is said of a job on another machine; the rest is about the cluster that it ran on, and how
#: to ask it.
_OF_A_JOB = ("version", "kind", "backend", "id", "submitted", "processes", "nodes", "script",
             "script_sha256")  # fmt: skip


def path_member(root: Path, path: Path, **more: object) -> Member:
    """Raises OSError where there is no such file."""
    size = path.stat().st_size
    mode = 0o755 if path.suffix == ".sh" else 0o644
    name = path.relative_to(root).as_posix()
    return Member(name, str(path), size, **{"mode": mode, **more})  # type: ignore[arg-type]


def run_members(
    files: RunFiles,
    manifest: Manifest,
    result: Optional[Result],
    name: str,
    warn: Warn,
    *,
    whole: bool = True,
) -> List[Member]:
    """All but states, image, packages and data. ``name`` is that of the run directory. What checks
    some steps of it does not need the model.

    Raises Trouble with everything that is missing.
    """
    digests, data = manifest.companions, manifest.identity.data
    code = recorded_files(manifest)
    needed = [
        (files.manifest, None),
        *((files.root / name, sha256) for name, sha256 in digests.items()),
        (files.train_table, data.train.sha256),
        (files.val_table, data.val.sha256),
        (files.mean, data.mean.sha256),
        *([(files.initmodel, data.initmodel)] if data.initmodel else []),
    ]
    also = [
        files.outline, files.labels, files.config, files.job_script, files.result, files.failure,
        files.stopped, files.cancelled, files.exit_code, files.interrupted, files.done,
        files.verdict, files.plot, files.readme, files.states, files.report,
    ]  # fmt: skip
    missing = [
        f"{path.relative_to(files.root)}: {why}"
        for path in [*(files.code / name for name in code), *(path for path, _ in needed)]
        if (why := file_problem(path))
    ]
    if missing:
        raise Trouble(missing, "restore it from a copy of the run directory, then export again")
    members = [path_member(files.root, path, expected=sha256) for path, sha256 in needed]
    members += [
        path_member(
            files.root, files.code / name, expected=digest.sha256,
            mode=0o555 if digest.executable else 0o444,
        )
        for name, digest in code.items()
    ]  # fmt: skip
    taken = {member.name for member in members}
    members += [
        path_member(files.root, path)
        for path in also
        if path.relative_to(files.root).as_posix() not in taken and own_file(path, warn)
    ]
    if not file_here(files.readme):
        members.append(of_bytes(files.readme.name, readme_text(manifest, name).encode()))
    members += result_members(files, manifest, result, whole=whole)
    members += [*job_members(files), *verdict_members(files, manifest, warn)]
    for folder in (files.logs, files.statements):
        members += [path_member(files.root, path) for path in regular_files(folder, warn)]
    return members


def result_members(
    files: RunFiles, manifest: Manifest, result: Optional[Result], *, whole: bool
) -> Iterator[Member]:
    """Log, trail and, of a ``whole`` run, the model, as far as they are there."""
    digests = {} if result is None else {files.log: result.log, files.model: result.digests.model}
    ranks = range(manifest.identity.world.ranks)
    for path in (files.log, *[files.model] * whole, *map(files.trail_of, ranks)):
        pinned = result is not None  # its digests are held against what is read
        if file_here(path) and (pinned or not path.is_symlink()):
            yield path_member(files.root, path, expected=digests.get(path))


def job_members(files: RunFiles) -> Iterator[Member]:
    """The job of a run that is done, without what is about its cluster, and its own script."""
    if not (file_here(files.done) and file_here(files.job)):
        return
    job = read_job(files)
    values = read_object(files.job)
    kept = {key: values[key] for key in _OF_A_JOB if values.get(key) is not None}
    text = json.dumps(
        {**kept, "host": ""}, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False
    )
    yield of_bytes(files.job.name, f"{text}\n".encode())
    if job is not None and job.script is not None and job.script != files.job_script.name:
        script = files.root / job.script
        if file_here(script):
            yield path_member(files.root, script, expected=job.script_sha256)


def verdict_members(files: RunFiles, manifest: Manifest, warn: Warn) -> Iterator[Member]:
    """Verdicts of its reruns."""
    for name, path in verdict_files(files, manifest).items():
        if not own_file(path, warn) or path.parent.is_symlink():
            continue
        yield Member(f"{files.verdicts.name}/{name}", str(path), path.stat().st_size)


def names_in(folder: Path) -> List[str]:
    """Sorted; none where the folder cannot be read."""
    try:
        return sorted(path.name for path in folder.iterdir())
    except OSError:
        return []


def regular_files(folder: Path, warn: Warn) -> List[Path]:
    """Those below ``folder`` that are neither links nor anything else, and can be read."""
    found: List[Path] = []
    if folder.is_symlink():
        warn(f"{folder} is a link: it is left out")
        return found
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(parent, name)
            why = name_problem(name) or ("is a link" if path.is_symlink() else file_problem(path))
            if why:
                warn(f"{path} {why}: it is left out")
            else:
                found.append(path)
    return found


def state_members(files: RunFiles, checkpoints: Sequence[Path], warn: Warn) -> List[Member]:
    """Raises OSError where one is gone."""
    return [path_member(files.root, path) for path in checkpoints if own_file(path, warn)]


def own_file(path: Path, warn: Warn) -> bool:
    """Whether a file without a recorded digest may go into an export: what a link leads to may be
    anything of this account."""
    if path.is_symlink():
        warn(f"{path} is a link: it is left out")
        return False
    return file_here(path)


def strangers(files: RunFiles) -> List[str]:
    """Names in the run directory that no export has: whoever put them there should know."""
    known = {path.parts[0] for path in RunFiles.names()} | set(DESCRIPTIONS)
    names = names_in(files.root)
    scripts = [name for name in names if name.startswith("job-") and name.endswith(".sh")]
    return [
        name
        for name in names
        if name not in known and name not in scripts and not name.startswith(".")
    ]


def chosen(checkpoints: Sequence[Path], which: str) -> List[Path]:
    """Of the checkpoints (newest first) those that ``which`` names: ``all``, ``none``, ``last``,
    or steps. Raises Trouble."""
    if which in ("all", "none", "last"):
        return list(checkpoints[: {"all": None, "none": 0, "last": 1}[which]])
    there = {step_of(path): path for path in checkpoints}
    words = which.split(",")
    wrong = [word for word in words if not (word.isdigit() and int(word) in there)]
    if wrong:
        has = ", ".join(str(step) for step in sorted(step or 0 for step in there)) or "none"
        raise Trouble(
            [f"--states {which}: {word!r} is not a step with a checkpoint" for word in wrong],
            f"give all, none, last, or steps of: {has}",
        )
    return [there[int(word)] for word in dict.fromkeys(words)]
