"""The fields that artifact appendices of conferences and journals ask for, filled from a run"""

from __future__ import annotations

from pathlib import Path
from typing import List, Optional, Tuple

from container.size_text import size_text
from manifests.record.communicators import counted
from manifests.record.log_columns import (
    ELAPSED,
    VALIDATION_ACCURACY,
    VALIDATION_ACCURACY_TOP5,
    VALIDATION_LOSS,
)
from manifests.record.run_files import RunFiles
from manifests.record.schema import Manifest
from manifests.report.amounts import time_text
from manifests.report.contents import room_of
from manifests.report.reported import ReportedRun

#: What nobody but the authors knows.
TO_FILL_IN = "to be filled in by the authors"

Field = Tuple[str, str]


def appendix_of(run: ReportedRun, citation: str) -> List[Field]:
    """Names of fields as ACM's and SC's appendices have them, with what the run knows of each.

    ``citation`` is the paragraph of `cite`.
    """
    identity, training = run.manifest.identity, run.manifest.identity.training
    data, world = identity.data, identity.world
    return [
        ("Program", _program(run.manifest)),
        (
            "Model",
            f"{training.arch}, {counted(training.nclasses, 'class')}, "
            f"{training.optimizer.name}, {training.precision}, seed {training.seed}",
        ),
        (
            "Data set",
            f"{data.train.samples} training and {data.val.samples} validation images; tables with "
            f"the sha256 of each image: {data.train.sha256}, {data.val.sha256}",
        ),
        (
            "Run-time environment",
            f"container image of stack {identity.image.stack}, sha256 {identity.image.sha256}",
        ),
        ("Versions", _versions(run)),
        ("Hardware", _hardware(run)),
        (
            "Execution",
            f"{counted(world.ranks, 'rank')} on {counted(world.nodes, 'node')}, "
            f"communicator {training.communicator}, {identity.steps} steps",
        ),
        ("Metrics", _metrics(run)),
        ("Output", _output(run)),
        ("Disk space", _disk_space(run)),
        ("Time", _time(run)),
        ("Licence of the code", _licence(run.files)),
        ("Licences of the image's packages", "listed with its contents where they are known"),
        ("Licence of the results", run.manifest.circumstance.license or TO_FILL_IN),
        ("Licence of the data", TO_FILL_IN),
        ("Publicly available", TO_FILL_IN),
        ("Citation", citation or TO_FILL_IN),
    ]


def _program(manifest: Manifest) -> str:
    git = manifest.circumstance.git
    commit = ""
    if git is not None and git.commit:
        commit = f", git commit {git.commit}{' with changes' if git.dirty else ''}"
    return f"snapshot in code/, digest {manifest.identity.code.digest}{commit}"


def _versions(run: ReportedRun) -> str:
    seen = run.record.result.observed.versions if run.record.result else {}
    return ", ".join(f"{name} {version}" for name, version in sorted(seen.items()))


def _hardware(run: ReportedRun) -> str:
    promises, result = run.manifest.promises, run.record.result
    needed = " with ".join(filter(None, [promises.architecture, ", ".join(promises.cpu_features)]))
    if promises.gpu is not None:
        kinds = [kind.text for kind in promises.gpu.classes]
        gpus = " or ".join(kinds) or f"compute capability {', '.join(promises.gpu.capabilities)}"
        needed += f", a GPU per rank: {gpus}, driver {promises.gpu.driver} or newer"
    used = ""
    if result is not None:
        hosts = len({place.host for place in result.observed.ranks})
        used = f"; used: {counted(hosts, 'node')} with {result.observed.cpu_model}"
    return f"needed: {needed}{used}"


def _metrics(run: ReportedRun) -> str:
    metrics = run.record.result.metrics if run.record.result else {}
    names = (VALIDATION_ACCURACY, VALIDATION_ACCURACY_TOP5, VALIDATION_LOSS)
    return ", ".join(f"{name} {metrics[name]:.6g}" for name in names if name in metrics)


def _output(run: ReportedRun) -> str:
    result = run.record.result
    if result is None:
        return ""
    return f"model.npz, sha256 {result.digests.model}; parameters {result.digests.parameters}"


def _disk_space(run: ReportedRun) -> str:
    parts = [part for part in room_of(run.files, run.manifest) if part.size]
    whole = size_text(sum(part.size for part in parts))
    each = ", ".join(f"{part.what} {part.text}" for part in parts)
    return f"{whole}: {each}; the images of the data set come on top of that"


def _time(run: ReportedRun) -> str:
    metrics = run.record.result.metrics if run.record.result else {}
    seconds: Optional[float] = metrics.get(ELAPSED)
    return "" if seconds is None else f"{time_text(seconds)} of training on this hardware"


def _licence(files: RunFiles) -> str:
    """The first line of the snapshot's licence file: that is where its name stands."""
    for name in ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "COPYING"):
        line = _first_line(files.code / name)
        if line:
            return f"{line} (code/{name})"
    return TO_FILL_IN


def _first_line(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as stream:
            lines = (line.strip(" #\t\r\n") for line in stream.readlines(4096))
            return next((line[:200] for line in lines if line), "")
    except OSError:
        return ""
