"""``bundle.py import``: an exported run, checked, as a run directory of this machine"""

from __future__ import annotations

from pathlib import Path

import click

from manifests.cli.command_line import DRY, JSON, PATH, as_json, host_context, say, say_next, warn


@click.command("import")
@click.argument("file", type=PATH)
@click.argument("folder", type=PATH, metavar="[DIR]", default=Path())
@DRY
@JSON
def import_(file: Path, folder: Path, dry_run: bool, json_wanted: bool) -> None:
    """Check an exported FILE and make its run directory.

    It is made in DIR (default: here). Nothing is placed unless all is right. No network is used.
    With --dry-run it is only checked.
    """
    from jobtemplates.schedulers import backend_named
    from manifests.flows.import_run import import_run
    from manifests.rundir.known_outs import remember_out
    from manifests.rundir.rerun_command import rerun_command

    host = host_context()
    done = import_run(file, folder, host, check_only=dry_run, warn=warn)
    if done.files is not None:
        remember_out(host.cache, done.files.root.parent, warn)
    place = None if done.files is None else str(done.files.root)
    if json_wanted:
        values = done.head.model_dump(mode="json", exclude={"version", "kind", "size_after"})
        as_json({**values, "digest": done.head.digest, "directory": place})
        return
    say(f"checked {done.head.files} files, {done.head.size / 1e6:.1f} MB")
    say(f"digest  {done.head.digest}")
    if done.files is not None:
        say(f"run     {place}")
        scheduler = done.manifest.circumstance.placement.scheduler
        at = "" if backend_named(scheduler).runs_here else " --site local"
        say_next(f"{rerun_command(done.files, done.manifest)}{at}", err=True)
