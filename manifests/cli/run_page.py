"""`show`: one run on a page, from its files; nothing is changed"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, Dict, List, Optional

from container.trouble import Trouble
from manifests.cli.command_line import called
from manifests.cli.overview import summary
from manifests.cli.reproductions import reproduction_lines, reproductions
from manifests.cli.text_cells import plain_text
from manifests.host.context import HostContext
from manifests.record.communicators import counted
from manifests.record.json_numbers import not_finite_text
from manifests.record.outcome import SeenGpus
from manifests.record.run_files import RunFiles
from manifests.record.schema import GpuPromise, Manifest, Resumed, Slice
from manifests.rundir.cancellation import read_cancellation
from manifests.rundir.directory import RunSummary, find_run
from manifests.rundir.job import Job, read_job
from manifests.rundir.labels import Labels, read_labels
from manifests.rundir.records import Warn, ignore, read_manifest, read_result


def show_values(run: Path, host: HostContext, warn: Warn = ignore) -> Dict[str, Any]:
    """The manifest without its bulk (code files, recipe texts), and the result."""
    files = find_run(str(run))
    manifest = read_manifest(files, warn)  # damaged ones before what `summary` says of them
    result = read_result(files, warn) if files.result.exists() else None
    found = summary(run, host, warn)
    values = manifest.model_dump(mode="json")
    for code in (values["identity"]["code"], values["circumstance"].get("other_code")):
        if code is not None:
            code["files"] = len(code["files"])
    values["recipe"]["files"] = sorted(manifest.recipe.files)
    return {
        "run": str(files.root),
        "state": found.state,
        "labels": read_labels(files, warn).model_dump(mode="json"),
        "manifest": values,
        "result": result.model_dump(mode="json") if result else None,
        "statements": reproductions(files, host.environ).as_json(),
    }


def show_lines(run: Path, host: HostContext, warn: Warn = ignore) -> List[str]:
    from manifests.record.checkpoint_names import step_of
    from manifests.rundir.present_states import present_states

    files = find_run(str(run))
    manifest = read_manifest(files, warn)  # damaged ones before what `summary` says of them
    results = result_lines(files, warn) if files.result.exists() else []
    found = summary(run, host, warn)
    lines = [f"run        {files.root}", *state_lines(found, warn)]
    lines += label_lines(read_labels(files, warn))
    job = None
    with suppress(Trouble):  # a damaged one shows in the state
        job = read_job(files)
    lines += identity_lines(manifest, job)
    checkpoints = present_states(files)
    if checkpoints:
        steps = ", ".join(str(step_of(path)) for path in checkpoints)
        lines.append(f"checkpoint after step {steps} of {manifest.identity.steps}")
    return lines + results + reproduction_lines(reproductions(files, host.environ))


def state_lines(found: RunSummary, warn: Warn) -> List[str]:
    """The state, and why: what the failure says, or who cancelled it; indented below it."""
    why = found.why
    if found.state in ("failed", "stopped"):
        from manifests.flows.explain import explain_failure

        why = explain_failure(found.files, ended=why)
    elif found.state == "cancelled":
        try:
            cancelled = read_cancellation(found.files, warn)
            why = cancelled.text if cancelled else ""
        except Trouble as trouble:
            why = str(trouble)
    reason = called(why).splitlines()
    return [f"state      {found.state}", *(f"           {line}" for line in reason)]


def label_lines(labels: Labels) -> List[str]:
    lines = [
        *([f"message    {labels.message}"] if labels.message else []),
        *([f"tags       {', '.join(labels.tags)}"] if labels.tags else []),
        *(f"note       {note.text} ({note.by}, {note.at})" for note in labels.notes),
    ]
    return [plain_text(line) for line in lines]


def result_lines(files: RunFiles, warn: Warn) -> List[str]:
    result = read_result(files, warn)
    width = max((len(name) for name in result.metrics), default=0)
    return [
        f"steps      {result.steps} in {result.observed.seconds:.1f} s",
        f"parameters {result.digests.parameters}",
        f"trail      {result.digests.trail}",
        f"model      {result.digests.model}",
        *([f"root       {result.root}"] if result.root else []),
        *(
            f"{'metrics' if number == 0 else '':10} {name:{width}}  {result.metrics[name]:.6g}"
            for number, name in enumerate(sorted(result.metrics))
        ),
        *([f"warning    {odd}"] if (odd := not_finite_text(result.metrics)) else []),
        *(gpu_lines(result.observed.gpus) if result.observed.gpus else []),
    ]


def gpu_lines(seen: SeenGpus) -> List[str]:
    """What the ranks worked on, and what NCCL reported."""
    kinds = [rank.kind.text for rank in seen.ranks]
    each = ", ".join(f"{kinds.count(kind)} x {kind}" for kind in dict.fromkeys(kinds))
    reported = ", ".join(f"{name} {value}" for name, value in sorted(seen.nccl.items()))
    return [
        f"gpus       {each}, driver {seen.driver}",
        *([f"nccl       {reported}"] if reported else []),
    ]


def slice_line(part: Slice, steps: int) -> str:
    start = f"the state after step {part.begin}" if part.begin else "the seed"
    return f"slice      steps {part.after + 1}..{part.end} of {steps}, from {start}"


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
    from manifests.host.hosting import on_nodes

    return [f"processes  {on_nodes(layout)} compute{'s' * (layout.ranks == 1)} the ranks"]


def identity_lines(manifest: Manifest, job: Optional[Job] = None) -> List[str]:
    identity, circumstance = manifest.identity, manifest.circumstance
    training = identity.training
    return [
        f"identity   {manifest.identity_digest}",
        f"created    {circumstance.created} by {circumstance.user} on {circumstance.host}",
        f"network    {training.arch}, {training.nclasses} classes, insize {training.insize}",
        f"training   {counted(training.epochs, 'epoch')}, {training.batchsize} per rank, "
        f"{training.optimizer.name} lr {training.optimizer.lr:g}, seed {training.seed}",
        f"world      {counted(identity.world.ranks, 'rank')} on "
        f"{counted(identity.world.nodes, 'node')}, "
        f"{training.communicator}",
        *processes_lines(manifest, job),
        f"image      {identity.image.stack} {identity.image.sha256}",
        f"code       {identity.code.digest}",
        f"           {files_text(manifest)}, {git_text(manifest)}",
        f"data       train {identity.data.train.samples}, val {identity.data.val.samples} samples",
        *([promise_line(manifest.promises.gpu)] if manifest.promises.gpu else []),
        *([f"rerun of   {circumstance.rerun_of}"] if circumstance.rerun_of else []),
        *([f"           with {', '.join(circumstance.swapped)}"] if circumstance.swapped else []),
        *([slice_line(circumstance.slice, identity.steps)] if circumstance.slice else []),
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
