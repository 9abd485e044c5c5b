"""The key ``resume``: a new run that begins with a checkpoint of another run directory."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional, Tuple

from container.digest import sha256_of_file
from container.reachable import PERMISSION, file_here, file_problem, folder_problem
from container.trouble import Trouble
from manifests.flows.explain import go_on
from manifests.record.checkpoint import (
    Damaged,
    Head,
    Prefix,
    cut_records,
    damage,
    read_head,
    steps_digest,
)
from manifests.record.checkpoint_names import checkpoints_in, step_of
from manifests.record.run_files import RunFiles
from manifests.record.schema import Identity, Manifest, Resumed
from manifests.record.states import other_state, read_states
from manifests.rundir.rank_code import counted_code
from manifests.rundir.records import Warn, ignore, read_manifest
from manifests.verdict.comparison import FieldDifference
from manifests.verdict.field_differences import field_differences

_SHOWN = 10


@dataclass(frozen=True)
class Continuation:
    """A whole checkpoint in the run directory that made it."""

    run: RunFiles
    manifest: Manifest
    checkpoint: Path
    head: Head

    def resumed(self) -> Resumed:
        """What the new run's manifest says of it; reads the whole file."""
        return Resumed(
            run=str(self.run.root),
            checkpoint=self.checkpoint.name,
            sha256=sha256_of_file(self.checkpoint),
            step=self.head.step,
        )

    def refuse_another(self, identity: Identity) -> None:
        """Raise Trouble unless the new run's steps up to the checkpoint have the same bits."""
        differences = field_differences(self.manifest.identity, identity)
        counted = counted_code(self.run, self.manifest)
        texts = [text for text in (_deciding(item, counted) for item in differences) if text]
        problems = [f"resume: {self.checkpoint}: was made by another run: {text}" for text in texts]
        if not problems and not fits(self.head, identity):
            problems = [f"resume: {self.checkpoint}: does not belong to the run that it lies in"]
        if not problems and self.head.step >= identity.steps:
            problems = [
                f"resume: {self.checkpoint}: has {self.head.step} steps behind it, "
                f"with this config the run ends at {identity.steps}"
            ]
        if problems:
            more = len(problems) - _SHOWN
            raise Trouble(
                problems[:_SHOWN] + ([f"and {more} more"] if more > 0 else []),
                "use the old run's values (epoch may grow) and its code, go on with the old run as "
                f"it is ({go_on(self.run)}), or begin anew from a model file with initmodel",
            )

    def copy_to(self, files: RunFiles) -> None:
        """Put checkpoint, trail and log up to it into the new run directory."""
        files.checkpoints.mkdir(parents=True)
        files.trail.mkdir()
        shutil.copyfile(self.checkpoint, files.checkpoints / self.checkpoint.name)
        head, run = self.head, self.run
        for rank, prefix in enumerate(head.trail):
            _copy_prefix(run.trail_of(rank), files.trail_of(rank), prefix)
        _copy_prefix(run.log, files.log, head.log)


def read_continuation(path: Path, warn: Warn = ignore) -> Continuation:
    """The checkpoint that ``path`` names: a file, or a run directory, which means its newest.

    Passes over damaged ones of a directory, telling ``warn``. Raises Trouble when there is none.
    """
    files, candidates = _candidates(path)
    manifest = read_manifest(files, warn)
    problems: List[str] = []
    for checkpoint in candidates:
        head, problem = look_at(checkpoint, files)
        if head is not None:
            for text in problems:
                warn(f"{text}; an older one is used")
            return Continuation(files, manifest, checkpoint, head)
        problems.append(f"resume: {checkpoint}: {problem}")
    if not problems:
        problems = [f"resume: {files.root}: has no checkpoint"]
    raise Trouble(problems, "give a run directory or a whole checkpoint in one, or leave it out")


def _candidates(path: Path) -> Tuple[RunFiles, List[Path]]:
    whole = RunFiles(path)
    if path == RunFiles(path.parent).manifest and file_here(path):
        whole = RunFiles(path.parent)
    if file_here(whole.manifest):
        return whole, checkpoints_in(whole.checkpoints)
    why = folder_problem(path) and file_problem(path)
    if why in ("does not exist", PERMISSION):
        raise Trouble(f"resume: {path}: {why}", "give a run directory or a checkpoint in one")
    if file_here(path) and step_of(path) is not None:
        for files in map(RunFiles, path.parents):
            if file_here(files.manifest) and files.checkpoints == path.parent:
                return files, [path]
    raise Trouble(
        f"resume: {path}: is neither a run directory nor a checkpoint inside one",
        "give RUN or RUN/results/checkpoints/step-….npz; its trail and log are needed too",
    )


def look_at(checkpoint: Path, files: RunFiles) -> Tuple[Optional[Head], str]:
    """The head of a checkpoint that can be gone on from, or why it cannot."""
    problem = damage(checkpoint)
    if problem:
        return None, problem
    try:
        head = read_head(checkpoint)
    except Damaged as error:
        return None, str(error)
    problem = cut_records(head, files) or _not_noted(head, files)
    return (None, problem) if problem else (head, "")


def _not_noted(head: Head, files: RunFiles) -> str:
    """Why a checkpoint is not the state that its run noted; "" if it is, or none is noted."""
    try:
        return other_state(head, read_states(files.states))
    except OSError as error:
        return f"{files.states.relative_to(files.root)} cannot be read: {error.strerror}"
    except ValueError:
        return f"{files.states.relative_to(files.root)} is not a record of states"


def fits(head: Head, identity: Identity, counted: Optional[Tuple[str, ...]] = None) -> bool:
    """Whether the steps of a checkpoint are steps of a run with this identity.

    ``counted`` as for :func:`manifests.record.checkpoint.steps_digest`.
    """
    same = head.steps_digest == steps_digest(identity, counted)
    return same and head.ranks == identity.world.ranks


def _deciding(difference: FieldDifference, counted: Optional[Tuple[str, ...]]) -> str:
    """What a difference means for the steps so far; "" if nothing (steps_digest)."""
    path = difference.path
    if path in ("training.epochs", "code.digest"):
        return ""
    if path.startswith("code.files"):
        name = path[len("code.files.") :]
        return f"{name} differs" if counted is None or name.startswith(counted) else ""
    return f"{path} is {difference.a} there, {difference.b} here"


def _copy_prefix(source: Path, target: Path, prefix: Prefix) -> None:
    with source.open("rb") as stream:
        target.write_bytes(stream.read(prefix.length))
