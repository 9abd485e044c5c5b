"""The step in which two runs part, run again from the terminal: each run as a job of its own"""

from __future__ import annotations

from dataclasses import replace
from typing import List, Optional

from container.trouble import Trouble
from manifests.cli.command_line import note, warn
from manifests.cli.foreground import wait_for_job
from manifests.cli.interrupted import in_foreground
from manifests.flows.plan import write_run
from manifests.flows.rerun import RerunRequest
from manifests.flows.start import start_new
from manifests.flows.zoom import judge_zoom, plan_step, read_step_run, sides_of, zoomed_step
from manifests.host.context import HostContext
from manifests.record.run_files import RunFiles
from manifests.rundir.known_outs import remember_out
from manifests.verdict.comparison import Comparison
from manifests.verdict.zoom import Side, StepRun

#: A third run decides which of two that are unlike went wrong.
MOST_RUNS = 3


def zoom_in(
    a: RunFiles,
    b: RunFiles,
    comparison: Comparison,
    host: HostContext,
    request: RerunRequest,
) -> Comparison:
    """Run the first step that differs twice with each run's parts; say what that shows.

    What the jobs print goes to standard error. Raises Trouble where the two differ in no step.
    """
    step = zoomed_step(comparison)
    sides = [side_of(name, run, step, host, _beside(b, request)) for name, run in sides_of(a, b)]
    return judge_zoom(a, b, comparison, sides, warn)


def first_script(
    a: RunFiles,
    b: RunFiles,
    comparison: Comparison,
    host: HostContext,
    request: RerunRequest,
) -> str:
    """The script of the first job that :func:`zoom_in` would start. Raises Trouble as it does."""
    request = replace(_beside(b, request), read_only=True)
    return plan_step(a, zoomed_step(comparison), host, request, warn).script


def _beside(b: RunFiles, request: RerunRequest) -> RerunRequest:
    return replace(request, out=request.out or b.root.parent)


def side_of(
    name: str,
    run: RunFiles,
    step: int,
    host: HostContext,
    request: RerunRequest,
) -> Side:
    """The runs of the step with the parts of one run, or why it cannot be run."""
    runs: List[StepRun] = []
    why_not: Optional[str] = None
    try:
        while len(runs) < 2 or (len(runs) < MOST_RUNS and not Side(name, runs).alike):
            runs.append(run_step(run, step, host, request))
    except Trouble as error:
        why_not = error.problems[0]
        runs = runs if len(runs) == 2 else []
    return Side(name, runs, why_not)


def run_step(
    run: RunFiles,
    step: int,
    host: HostContext,
    request: RerunRequest,
) -> StepRun:
    plan = plan_step(run, step, host, request, warn)
    for text in plan.warnings:
        warn(text)
    for text in plan.notes:
        note(text)
    files = write_run(plan)
    with in_foreground([files], host):
        start_new(files, host, warn=warn)
        remember_out(host.cache, files.root.parent, warn)
        note(f"step {step} again in {files.root}")
        wait_for_job(files, host, True)
    return read_step_run(files)
