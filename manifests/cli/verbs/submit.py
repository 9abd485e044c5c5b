"""``bundle.py submit``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, Optional, Tuple

import click

from container import atomic
from container.shell_word import shell_word
from manifests.cli.command_line import (
    CHAIN,
    DRY,
    GROUP,
    JSON,
    PATH,
    as_json,
    host_context,
    note,
    say,
    say_next,
    warn,
)


@click.command()
@click.argument("config", type=PATH)
@click.option("--wait", is_flag=True, help="Wait until the job ends and show its output.")
@click.option("--out", "script_name", type=PATH, help="Also write the job script to this file.")
@click.option("-m", "--message", help="Purpose of the run in one line; `list` shows it.")
@click.option("--tag", "tags", multiple=True, help="Tag of the run, for `list --tag`; repeatable.")
@click.option(
    "--unless-done", is_flag=True, help="Start nothing if an identical run is done already."
)
@GROUP
@CHAIN
@DRY
@JSON
def submit(
    config: Path,
    message: Optional[str],
    tags: Tuple[str, ...],
    wait: bool,
    script_name: Optional[Path],
    group: Optional[str],
    chain: int,
    unless_done: bool,
    dry_run: bool,
    json_wanted: bool,
) -> None:
    """Make a run directory from CONFIG and start its job. It records code, data and image."""
    from manifests.host.container_program import ask_ahead

    host = ask_ahead(host_context())
    from manifests.flows.plan import write_run
    from manifests.flows.submit import plan_submit
    from manifests.host.placing import chain_warnings
    from manifests.rundir.known_outs import known_outs, remember_out
    from manifests.rundir.labels import checked_labels
    from manifests.rundir.same_identity import done_run

    labels = checked_labels(message, tags)
    facts: Dict[str, Any] = {}
    with atomic.prepared(*([] if script_name is None or dry_run else [script_name])):
        plan = plan_submit(config, host, group=group, read_only=dry_run)
        plan = replace(plan, labels=labels)
        identity = plan.manifest.identity_digest
        facts.update(run=str(plan.files.root), identity=identity)
        done = done_run(identity, [plan.files.root.parent, *known_outs(host.cache)])
        if done is not None and unless_done:
            say_done(done, identity, json_wanted)
            return
        if dry_run and not json_wanted:
            from manifests.cli.outlook_text import say_outlook

            say_outlook(plan, host)
        for warning in [*plan.warnings, *chain_warnings(plan.placement, chain)]:
            warn(warning)
        for text in [*plan.notes, *([f"identical run done: {done}"] if done else [])]:
            note(text)
        if dry_run and json_wanted:
            from manifests.cli.outlook_text import outlook_values

            as_json({**facts, **outlook_values(plan, host), "script": plan.script})
        elif dry_run:
            click.echo(plan.script, nl=False)
        if dry_run:
            return
        if script_name is None:
            files = write_run(plan)
        else:
            # The script gets its name only if the run is there, and the run is there only if the
            # script can be written.
            with atomic.replacing(script_name) as stream:
                stream.write(plan.script.encode("utf-8"))
                files = write_run(plan)
                stream.seek(0)
                stream.write(files.job_script.read_bytes())  # of the name that it got: as long
    facts["run"] = str(files.root)
    from manifests.cli.interrupted import in_foreground

    with in_foreground([files], host):
        from manifests.cli.foreground import say_started
        from manifests.flows.start import start_new

        job = start_new(files, host, chain, warn)
        remember_out(host.cache, files.root.parent, warn)
        say_started(files, job, facts, host, wait, json_wanted)


def say_done(run: Path, identity: str, json_wanted: bool) -> None:
    """A run that was asked for is there; nothing is started."""
    if json_wanted:
        as_json({"run": str(run), "identity": identity, "done": True})
        return
    say(f"done {run}")
    say_next(f"python bundle.py show {shell_word(run)}")
