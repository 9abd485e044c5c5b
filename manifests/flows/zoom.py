"""`rerun --zoom`: the first step in which two runs differ, run again here layer by layer"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

from container import atomic
from container.reachable import file_here
from container.shell_word import shell_word
from container.trouble import Trouble
from manifests.flows.cannot_run import CannotRun
from manifests.flows.judgement import compare_runs
from manifests.flows.plan import Plan
from manifests.flows.recorded_data import data_moved
from manifests.flows.rerun import RerunRequest, plan_rerun
from manifests.host.context import HostContext
from manifests.record.outcome import TrailRecord
from manifests.record.run_files import RunFiles
from manifests.record.sample_table import TableFault, read_sample
from manifests.record.schema import Manifest
from manifests.record.step_trace import RankTrace, read_rank_trace
from manifests.rundir.directory import find_run
from manifests.rundir.records import Warn, ignore, read_manifest, read_trail
from manifests.rundir.reruns import original_of
from manifests.verdict.comparison import Comparison
from manifests.verdict.run_record import load_record
from manifests.verdict.zoom import Side, StepRun, conclude

#: The file of a snapshot whose trainer can trace a step.
TRACE_CODE = "trainer/step_trace.py"


def diverged_pair(run: Path, warn: Warn = ignore) -> Optional[Tuple[RunFiles, Comparison]]:
    """A rerun whose bits differ from its original's, and the comparison; None where ``run`` is
    another kind of run. Raises Trouble where the original cannot be read."""
    files = find_run(str(run))
    manifest = read_manifest(files, warn)
    recorded = manifest.circumstance.rerun_of
    if recorded is None or not files.done.exists():
        return None
    original = original_of(files, manifest)
    if original is None and not file_here(RunFiles(Path(recorded)).manifest):
        raise Trouble(
            f"--zoom: {recorded}, which {files.root} repeats, is not there",
            "put a copy of that run beside its rerun",
        )
    comparison = compare_runs(original.root if original else Path(recorded), files.root, warn)
    return (files, comparison) if comparison.verdict == "diverged" else None


def zoomed_step(comparison: Comparison) -> int:
    """The step to run again. Raises Trouble where the two differ in none."""
    first = comparison.first_difference
    if first is None:
        raise Trouble(
            f"--zoom: {comparison.a} and {comparison.b} differ in no step that both recorded",
            "see what differs: python bundle.py compare "
            f"{shell_word(comparison.a)} {shell_word(comparison.b)}",
        )
    return max(first.step, 1)


def sides_of(a: RunFiles, b: RunFiles) -> List[Tuple[str, RunFiles]]:
    """With whose parts the step is run: ``a``'s, and ``b``'s where they are others."""
    of_a, of_b = read_manifest(a), read_manifest(b)
    return [("a", a)] if of_a.identity == of_b.identity else [("a", a), ("b", b)]


def plan_step(
    run: RunFiles, step: int, host: HostContext, request: RerunRequest, warn: Warn = ignore
) -> Plan:
    """Plan the run of one step from the newest state before it, or from the seed.

    ``request`` says where and from which data. Raises CannotRun where the parts are not as
    recorded, or the trainer of the run's snapshot traces no step; Trouble.
    """
    manifest = read_manifest(run)
    if TRACE_CODE not in manifest.identity.code.files:
        raise CannotRun(
            f"the trainer in its snapshot is from before steps were traced (no {TRACE_CODE})",
            "compare the trails: python bundle.py compare A B",
        )
    request = replace(request, moved=_fitting(manifest, request.moved), traced=True)
    try:
        return plan_rerun(run.root, host, replace(request, steps=(step - 1, step)), warn)
    except CannotRun as error:
        if step == 1:
            raise
        plan = plan_rerun(run.root, host, replace(request, steps=(0, step)), warn)
        return replace(plan, notes=[error.problems[0], *plan.notes])


def _fitting(manifest: Manifest, moved: Mapping[str, str]) -> Dict[str, str]:
    """Of ``--data OLD=NEW`` what this run needs: the rerun has its data where they are now."""
    fitting = {}
    for old, new in moved.items():
        try:
            data_moved(manifest.circumstance, {old: new})
        except Trouble:
            continue
        fitting[old] = new
    return fitting


def read_step_run(files: RunFiles) -> StepRun:
    """What a job left that ran one step. Raises Trouble where its trace is not whole."""
    manifest = read_manifest(files)
    ranks = manifest.identity.world.ranks
    part = manifest.circumstance.slice
    traces: List[RankTrace] = []
    try:
        traces = [read_rank_trace(files.trace_of(rank)) for rank in range(ranks)]
    except (OSError, ValueError) as error:
        raise Trouble(
            f"{files.root}: the step left no whole trace",
            f"see why: python bundle.py show {shell_word(files.root)}",
        ) from error
    trail: List[List[TrailRecord]] = []
    if files.result.exists():
        trail = read_trail(files, ranks)
    return StepRun(str(files.root), part.begin if part else 0, traces, trail)


def judge_zoom(
    a: RunFiles, b: RunFiles, comparison: Comparison, sides: Sequence[Side], warn: Warn = ignore
) -> Comparison:
    """The comparison with what the runs of the step say; kept in the rerun's ``verdict.json``."""
    of_a, of_b = load_record(a, warn), load_record(b, warn)
    changed = None
    if of_a.manifest.identity.data.train != of_b.manifest.identity.data.train:
        changed = changed_images(a.train_table, b.train_table)
    zoom = conclude(zoomed_step(comparison), of_a, of_b, sides, changed)
    found = comparison.model_copy(update={"zoom": zoom})
    if Path(of_b.manifest.circumstance.rerun_of or "").name == a.root.name:
        atomic.write_json(b.verdict, found.model_dump(mode="json"))
    return found


def changed_images(a: Path, b: Path) -> Dict[int, str]:
    """Sample number -> path in ``b`` of the lines of two sample tables that differ. Raises Trouble
    for a table that cannot be read."""
    try:
        lines = [path.read_bytes().splitlines() for path in (a, b)]
        return {
            number: read_sample(line).path
            for number, line in enumerate(lines[1])
            if lines[0][number : number + 1] != [line]
        }
    except (OSError, TableFault) as error:
        raise Trouble(
            f"{b}: cannot be read: {error}", "restore it from a copy of the run"
        ) from error
