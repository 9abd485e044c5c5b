"""``bundle.py logs``."""

from __future__ import annotations

from pathlib import Path

import click

from container.trouble import Trouble
from manifests.cli.command_line import RUN, host_context, note, say


@click.command()
@RUN
@click.option("-f", "--follow", "following", is_flag=True, help="Go on until the job ends.")
@click.option("--stderr", is_flag=True, help="Standard error instead of standard output.")
def logs(run: Path, following: bool, stderr: bool) -> None:
    """Print what the job of RUN printed."""
    from manifests.flows.follow import follow
    from manifests.rundir.directory import find_run
    from manifests.rundir.job_logs import log_of

    files = find_run(str(run))
    stream = "stderr" if stderr else "stdout"
    log = log_of(files, stream)
    if following:
        for line in follow(files, stream, host_context(), say=note):
            say(line)
    elif log.exists():
        click.echo(log.read_text(encoding="utf-8", errors="replace"), nl=False)
    else:
        raise Trouble(f"{log}: is not there yet", "the job has not begun to write")
