"""Plan: all that is decided before a run is written; and its run directory, written whole."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Callable, List

from container import atomic
from container.digest import sha256_of_file
from manifests.record.run_files import RunFiles
from manifests.record.schema import Manifest, Placement
from manifests.rundir.directory import Taken, create_run, run_name
from manifests.rundir.labels import Labels, write_labels
from manifests.rundir.outline import write_outline
from manifests.rundir.readme import readme_text


@dataclass(frozen=True)
class Plan:
    """Everything that is decided before anything is written.

    ``fill`` puts ``config.yaml``, ``code/`` and ``inputs/`` into the new run directory. ``render``
    gives the job script of a run of another name, should this one be taken meanwhile.
    """

    files: RunFiles
    manifest: Manifest
    script: str
    render: Callable[[RunFiles], str]
    fill: Callable[[RunFiles], None]
    warnings: List[str]
    notes: List[str] = field(default_factory=list)
    labels: Labels = field(default_factory=Labels)

    @property
    def placement(self) -> Placement:
        return self.manifest.circumstance.placement


def write_run(plan: Plan) -> RunFiles:
    """Make the run directory, whole or not at all. Raises Trouble when ``out`` cannot take it.

    Where another submit took its name since it was chosen, it gets the next one that is free.
    """
    while True:
        try:
            return _write(plan)
        except Taken:
            files = next_run(plan.files)
            plan = replace(plan, files=files, script=plan.render(files))


def _write(plan: Plan) -> RunFiles:
    def fill(files: RunFiles) -> None:
        plan.fill(files)
        files.logs.mkdir()
        files.results.mkdir(exist_ok=True)
        atomic.write_bytes(files.job_script, plan.script.encode("utf-8"))
        files.job_script.chmod(0o755)
        companions = {path.name: sha256_of_file(path) for path in (files.config, files.job_script)}
        manifest = plan.manifest.model_copy(update={"companions": companions})
        atomic.write_json(files.manifest, manifest.as_written())
        write_outline(files, manifest)
        text = readme_text(manifest, plan.files.root.name)
        atomic.write_bytes(files.readme, text.encode("utf-8"))
        if not plan.labels.empty:
            write_labels(files, plan.labels)

    return create_run(plan.files.root.parent, plan.files.root.name, fill)


def new_run(out: Path, jobname: str, now: datetime, identity_digest: str) -> RunFiles:
    """The file names of a run that is not there yet: the second after, where the name is taken."""
    while True:
        files = RunFiles(out / run_name(jobname, now, identity_digest))
        if not os.path.lexists(files.root):
            return files
        now += timedelta(seconds=1)


def next_run(files: RunFiles) -> RunFiles:
    """The first free name after this one, which :func:`new_run` made."""
    jobname, created, identity = files.root.name.rsplit("-", 2)
    second = datetime.strptime(created, "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
    return new_run(files.root.parent, jobname, second + timedelta(seconds=1), identity)
