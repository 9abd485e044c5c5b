"""``bundle.py resume``."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Optional

import click

from manifests.cli.command_line import (
    CHAIN,
    DRY,
    GROUP,
    JSON,
    NODES,
    PROCESSES,
    RUN,
    as_json,
    host_context,
    note,
    warn,
)


@click.command()
@RUN
@click.option("--wait", is_flag=True, help="Wait until the job ends and show its output.")
@GROUP
@PROCESSES
@NODES
@CHAIN
@DRY
@JSON
def resume(
    run: Path,
    wait: bool,
    group: Optional[str],
    processes: Optional[int],
    nodes: Optional[int],
    chain: int,
    dry_run: bool,
    json_wanted: bool,
) -> None:
    """Continue a stopped or failed RUN from its newest checkpoint."""
    from manifests.cli.foreground import say_started
    from manifests.cli.interrupted import in_foreground
    from manifests.flows.resume import alone, plan_resume, write_script
    from manifests.flows.start import start_run
    from manifests.host.placing import chain_warnings
    from manifests.rundir.directory import find_run
    from manifests.rundir.job_logs import logs_of

    host = host_context()
    with ExitStack() as lock:
        files = lock.enter_context(alone(find_run(str(run))))
        plan = plan_resume(run, host, warn, group=group, processes=processes, nodes=nodes)
        for warning in chain_warnings(plan.placement, chain):
            warn(warning)
        facts = {"run": str(files.root), "step": plan.step, "steps": plan.steps}
        if not json_wanted:
            note(plan.text())
        for text in plan.notes:
            note(text)
        if dry_run:
            if json_wanted:
                as_json({**facts, "script": plan.script} if plan.script else facts)
            elif plan.script:
                click.echo(plan.script, nl=False)
            return
        written = {path: path.stat().st_size for path in files.logs.glob("*")}
        with in_foreground([files], host):
            job = start_run(write_script(plan), host, chain, plan.placement, warn)
            lock.close()
            after = written.get(logs_of(files, "stdout")[0], 0)
            say_started(files, job, facts, host, wait, json_wanted, after)
