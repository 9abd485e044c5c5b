"""``bundle.py cancel``."""

from __future__ import annotations

from pathlib import Path

import click

from manifests.cli.command_line import RUN, host_context, note, say, say_next


@click.command()
@RUN
@click.option("--save", is_flag=True, help="Write a checkpoint first, and wait for it.")
def cancel(run: Path, save: bool) -> None:
    """End the job of RUN and its follow-ups. `resume` continues from the newest checkpoint."""
    from manifests.flows.cancel import Cancelled, cancel_run, cancel_saving
    from manifests.flows.explain import go_on
    from manifests.record.checkpoint_names import checkpoints_in, step_of
    from manifests.rundir.directory import find_run

    files, host = find_run(str(run)), host_context()
    done = cancel_saving(files, host, note) if save else Cancelled(cancel_run(files, host))
    if not done.alive:
        say("had ended before")
        return
    say("cancelled" if done.step is None else f"cancelled after step {done.step}, which is saved")
    checkpoints = checkpoints_in(files.checkpoints)
    where = f"after step {step_of(checkpoints[0])}" if checkpoints else "with the first step"
    say_next(f"to go on {where}: {go_on(files)}", err=True)
