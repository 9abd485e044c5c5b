"""``bundle.py cancel``."""

from __future__ import annotations

from pathlib import Path

import click

from manifests.cli.command_line import RUN, host_context, say


@click.command()
@RUN
def cancel(run: Path) -> None:
    """End the job of RUN."""
    from manifests.flows.cancel import cancel_run
    from manifests.rundir.directory import find_run

    files = find_run(str(run))
    say("cancelled" if cancel_run(files, host_context()) else "had ended before")
