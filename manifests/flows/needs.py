"""Needs: what the listed runs still need of images, stored inputs and fingerprints"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, FrozenSet, List, Optional

from container.reachable import folder_problem
from container.recipe import FORMAT_ENTRY, RECIPE_FORMAT, lock_path
from container.trouble import Trouble
from manifests.host.context import HostContext
from manifests.record.run_files import RunFiles
from manifests.record.states import archive_plan
from manifests.rundir.directory import RunSummary, list_runs
from manifests.rundir.known_outs import noted_outs
from manifests.rundir.outline import read_outline
from manifests.rundir.queue import Queues
from manifests.rundir.records import Warn

#: What container.reachable says of a folder that needs nothing any more.
GONE = ("does not exist", "is not a folder")

#: What a manifest may raise that is damaged, or of a form that is not known.
UNUSABLE = (
    Trouble, OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError,
)  # fmt: skip

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Need:
    """``image_name`` is the file's name in the cache without suffix; ``inputs`` are the sha256 of
    all files of which the image is made, ``roots`` the folders of its data. ``of`` is the run that
    it repeats, ``archive`` the steps after which its config keeps states for good."""

    files: RunFiles
    state: str
    image_path: str
    image_name: str
    image_sha256: str
    rebuildable: bool
    inputs: FrozenSet[str]
    roots: FrozenSet[str]
    of: Optional[str] = None
    archive: FrozenSet[int] = frozenset()

    @property
    def ended(self) -> bool:
        """Every other run may go on: what it works with must stay."""
        return self.state == "done"


@dataclass(frozen=True)
class Needs:
    """``unknown``: runs whose manifest cannot be read, and folders of runs, as of other accounts
    that share the cache; they may need anything."""

    runs: List[Need]
    unknown: List[Path]


def needs_of(host: HostContext, warn: Warn) -> Needs:
    """Of all runs in the folders that were ever submitted to with this cache."""
    queues = Queues(host, warn)
    found, unknown = [], []
    for out in noted_outs(host.cache):
        if folder_problem(out) in GONE:
            continue
        try:
            runs = list_runs(out, queues, warn)
        except Trouble:
            unknown += [out] if folder_problem(out) not in GONE else []
            continue
        for run in runs:
            try:
                found.append(_need(run))
            except UNUSABLE:  # one that was removed meanwhile needs nothing
                unknown += [run.files.root] if os.path.lexists(run.files.manifest) else []
    return Needs(found, unknown)


def _need(run: RunSummary) -> Need:
    """Of the manifest as it stands there: it may be one of an older or a newer version."""
    raw: Dict[str, Any] = json.loads(run.files.manifest.read_bytes())
    image, paths = raw["identity"]["image"], raw["circumstance"]["paths"]
    texts = raw["recipe"]["files"]
    roots = [paths.get(name) for name in ("train_root", "val_root")]
    return Need(
        files=run.files,
        state=run.state,
        image_path=str(paths["image"]),
        image_name=f"{image['stack']}-{image['recipe_sha256'][:16]}",
        image_sha256=str(image["sha256"]),
        rebuildable=texts.get(FORMAT_ENTRY) == RECIPE_FORMAT,
        inputs=frozenset(_SHA256.findall(texts.get(lock_path(image["stack"]), ""))),
        roots=frozenset(filter(None, roots)),
        of=raw["circumstance"].get("rerun_of"),
        archive=_archive(run.files, raw),
    )


def _archive(files: RunFiles, raw: Dict[str, Any]) -> FrozenSet[int]:
    count = raw["circumstance"].get("checkpointing", {}).get("archive")
    return frozenset(archive_plan(read_outline(files).steps, count)) if count else frozenset()
