"""What the reading verbs show: rows and lines made from run directories, nothing is changed."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any, Dict, List, Optional

from container.trouble import Trouble
from manifests.host.context import HostContext
from manifests.host.hosting import on_nodes
from manifests.record.json_numbers import WORDS, not_finite_text, number
from manifests.record.log_columns import (
    EPOCH,
    ITERATION,
    LOSS,
    VALIDATION_ACCURACY,
    VALIDATION_ACCURACY_TOP5,
    VALIDATION_LOSS,
)
from manifests.record.outcome import SeenGpus
from manifests.record.schema import GpuPromise, Manifest, Resumed
from manifests.rundir.directory import RunSummary, find_run, list_runs, summary_of
from manifests.rundir.job import Job, read_job
from manifests.rundir.known_outs import known_outs
from manifests.rundir.queue import Queues
from manifests.rundir.records import Warn, ignore, read_manifest, read_result

#: A damaged run may be under way: it is shown with them.
UNDER_WAY = ("prepared", "queued", "running", "stopped", "unknown", "damaged")

#: Columns of :func:`row_of` that a person is shown; JSON has them all.
LIST_COLUMNS = ["run", "state", "identity", "accuracy", "accuracy_top5", "created"]
STATUS_COLUMNS = [
    "run", "state", "job", "epoch", "iteration", "loss", "accuracy", "accuracy_top5",
]  # fmt: skip


def status_columns(rows: List[Dict[str, Any]]) -> List[str]:
    """A scheduler's reasons are shown where there are any."""
    return [*STATUS_COLUMNS, *(["why"] if any(row["why"] for row in rows) else [])]


def runs_below(outs: List[Path], host: HostContext, warn: Warn = ignore) -> List[RunSummary]:
    """Raises Trouble for a folder that cannot be read; a damaged run is one of the runs."""
    queues = Queues(host, warn)
    return [run for out in (outs or known_outs(host.cache)) for run in list_runs(out, queues, warn)]


def summary(run: Path, host: HostContext, warn: Warn = ignore) -> RunSummary:
    return summary_of(find_run(str(run)), Queues(host, warn), warn)


# --- rows -----------------------------------------------------------------------------------


def last_row(log: Path) -> Dict[str, Any]:
    """The last whole row of a run's log; empty before the first. Damaged lines are passed over.

    Numbers that are not finite are floats, in whichever form they were written.
    """
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - 4096))
            lines = stream.read().splitlines(keepends=True)
    except OSError:
        return {}
    for line in reversed(lines):
        if line.endswith(b"\n"):
            with suppress(ValueError, RecursionError):
                row = json.loads(line)
                if isinstance(row, dict):
                    return {k: number(v) if v in WORDS else v for k, v in row.items()}
    return {}


def row_of(run: RunSummary, warn: Warn = ignore) -> Dict[str, Any]:
    """One run in columns; a column that the run does not have yet is None.

    A run whose records cannot be read is ``damaged``; ``warn`` is told why.
    """
    last = last_row(run.files.log)
    numbers = {k: v for k, v in last.items() if isinstance(v, float)}
    state, job = run.state, None
    if state != "damaged":  # else it was said already
        try:
            job = read_job(run.files, warn)
        except Trouble as trouble:
            state = "damaged"
            for problem in trouble.problems:
                warn(problem)
    return {
        "run": str(run.files.root),
        "state": state,
        "why": run.why or not_finite_text(numbers) or None,
        "job": run.job or (job.id if job else None),
        "identity": run.identity,
        "created": run.created,
        "epoch": last.get(EPOCH),
        "iteration": last.get(ITERATION),
        "loss": last.get(LOSS),
        "validation_loss": last.get(VALIDATION_LOSS),
        "accuracy": last.get(VALIDATION_ACCURACY),
        "accuracy_top5": last.get(VALIDATION_ACCURACY_TOP5),
    }


def list_rows(outs: List[Path], host: HostContext, warn: Warn = ignore) -> List[Dict[str, Any]]:
    rows = [row_of(run, warn) for run in runs_below(outs, host, warn)]
    return sorted(rows, key=lambda row: (row["created"], row["run"]))


def status_rows(runs: List[Path], host: HostContext, warn: Warn = ignore) -> List[Dict[str, Any]]:
    if runs:
        queues = Queues(host, warn)
        return [row_of(summary_of(find_run(str(run)), queues, warn), warn) for run in runs]
    return [row_of(run, warn) for run in runs_below([], host, warn) if run.state in UNDER_WAY]


# --- one run --------------------------------------------------------------------------------


def show_values(run: Path, host: HostContext, warn: Warn = ignore) -> Dict[str, Any]:
    """The manifest without its bulk (code files, recipe texts), and the result."""
    found = summary(run, host, warn)
    files = found.files
    manifest = read_manifest(files, warn)
    values = manifest.model_dump(mode="json")
    for code in (values["identity"]["code"], values["circumstance"].get("other_code")):
        if code is not None:
            code["files"] = len(code["files"])
    values["recipe"]["files"] = sorted(manifest.recipe.files)
    result = read_result(files, warn) if files.result.exists() else None
    return {
        "run": str(files.root),
        "state": found.state,
        "manifest": values,
        "result": result.model_dump(mode="json") if result else None,
    }


def show_lines(run: Path, host: HostContext, warn: Warn = ignore) -> List[str]:
    from manifests.record.checkpoint import checkpoints_in, step_of

    found = summary(run, host, warn)
    files = found.files
    manifest = read_manifest(files, warn)
    lines = [f"run        {files.root}", f"state      {found.state}"]
    job = None
    with suppress(Trouble):  # a damaged one shows in the state
        job = read_job(files)
    lines += identity_lines(manifest, job)
    checkpoints = checkpoints_in(files.checkpoints)
    if checkpoints:
        steps = ", ".join(str(step_of(path)) for path in checkpoints)
        lines.append(f"checkpoint after step {steps} of {manifest.identity.steps}")
    if files.result.exists():
        result = read_result(files, warn)
        metrics = ", ".join(f"{name} {value:.6g}" for name, value in sorted(result.metrics.items()))
        lines += [
            f"steps      {result.steps} in {result.observed.seconds:.1f} s",
            f"parameters {result.digests.parameters}",
            f"trail      {result.digests.trail}",
            f"model      {result.digests.model}",
            f"metrics    {metrics}",
            *([f"warning    {odd}"] if (odd := not_finite_text(result.metrics)) else []),
            *(gpu_lines(result.observed.gpus) if result.observed.gpus else []),
        ]
    return lines


def gpu_lines(seen: SeenGpus) -> List[str]:
    """What the ranks worked on, and what NCCL reported."""
    kinds = [rank.kind.text for rank in seen.ranks]
    counted = ", ".join(f"{kinds.count(kind)} x {kind}" for kind in dict.fromkeys(kinds))
    reported = ", ".join(f"{name} {value}" for name, value in sorted(seen.nccl.items()))
    return [
        f"gpus       {counted}, driver {seen.driver}",
        *([f"nccl       {reported}"] if reported else []),
    ]


def promise_line(promise: GpuPromise) -> str:
    kinds = [kind.text for kind in promise.classes]
    wanted = " or ".join(kinds or [f"compute capability {', '.join(promise.capabilities)}"])
    return f"promised   a GPU per rank: {wanted}; driver {promise.driver} or newer"


def processes_lines(manifest: Manifest, job: Optional[Job]) -> List[str]:
    """Who computes the ranks, where that is not one process for each on the identity's nodes."""
    world = manifest.identity.world
    layout = manifest.circumstance.placement.layout(world)
    if job is not None and job.processes is not None and job.nodes is not None:
        layout = layout.model_copy(update={"ranks": job.processes, "nodes": job.nodes})
    if layout == world:
        return []
    return [f"processes  {on_nodes(layout)} compute{'s' * (layout.ranks == 1)} the ranks"]


def identity_lines(manifest: Manifest, job: Optional[Job] = None) -> List[str]:
    identity, circumstance = manifest.identity, manifest.circumstance
    training = identity.training
    return [
        f"identity   {manifest.identity_digest}",
        f"created    {circumstance.created} by {circumstance.user} on {circumstance.host}",
        f"network    {training.arch}, {training.nclasses} classes, insize {training.insize}",
        f"training   {training.epochs} epochs, {training.batchsize} per rank, "
        f"{training.optimizer.name} lr {training.optimizer.lr:g}, seed {training.seed}",
        f"world      {identity.world.ranks} ranks on {identity.world.nodes} node(s), "
        f"{training.communicator}",
        *processes_lines(manifest, job),
        f"image      {identity.image.stack} {identity.image.sha256}",
        f"code       {identity.code.digest}",
        f"           {files_text(manifest)}, {git_text(manifest)}",
        f"data       train {identity.data.train.samples}, val {identity.data.val.samples} samples",
        *([promise_line(manifest.promises.gpu)] if manifest.promises.gpu else []),
        *([f"rerun of   {circumstance.rerun_of}"] if circumstance.rerun_of else []),
        *([resumed_text(circumstance.resumed)] if circumstance.resumed else []),
    ]


def files_text(manifest: Manifest) -> str:
    executed, other = len(manifest.identity.code.files), manifest.circumstance.other_code
    if other is None:
        return f"{executed} files"
    return f"{executed} files that ranks execute, {len(other.files)} others"


def resumed_text(resumed: Resumed) -> str:
    return f"resumed    after step {resumed.step} of {resumed.run}"


def git_text(manifest: Manifest) -> str:
    git = manifest.circumstance.git
    if git is None or git.commit is None:
        return "not from a git commit"
    return f"git {git.commit[:12]}{' and changes to it' if git.dirty else ''}"
