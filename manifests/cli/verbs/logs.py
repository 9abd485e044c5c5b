"""``bundle.py logs``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from container.trouble import Trouble
from manifests.cli.command_line import RUN, host_context, note, say, warn

if TYPE_CHECKING:
    from manifests.host.context import HostContext
    from manifests.record.run_files import RunFiles


@click.command()
@RUN
@click.option("-f", "--follow", "following", is_flag=True, help="Follow until the job ends.")
@click.option("--stderr", is_flag=True, help="Print standard error instead of standard output.")
def logs(run: Path, following: bool, stderr: bool) -> None:
    """Print the output of RUN's job."""
    from container.reachable import file_problem
    from manifests.flows.follow import follow
    from manifests.rundir.directory import find_run
    from manifests.rundir.job_logs import log_of

    files, host = find_run(str(run)), host_context()
    stream = "stderr" if stderr else "stdout"
    log = log_of(files, stream)
    if following:
        for line in follow(files, stream, host, say=note):
            say(line)
        say_ended(files, host)
        return
    why = file_problem(log)
    if why == "does not exist":
        raise Trouble(f"{log}: is not there yet", "the job has not begun to write")
    if why:
        raise Trouble(f"{log}: {why}", "ask its owner for a copy")
    click.echo(log.read_text(encoding="utf-8", errors="replace"), nl=False)


def say_ended(files: RunFiles, host: HostContext) -> None:
    """How the job ended that was followed, and what comes next."""
    from manifests.flows.explain import ended_text

    note(ended_text(files, host, warn))
