"""``bundle.py status``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Tuple

import click

from manifests.cli.command_line import JSON, RUNS, WIDE, as_json, host_context, say, warn


@click.command()
@RUNS
@click.option("--watch", is_flag=True, help="Refresh until no run is active.")
@WIDE
@JSON
def status(runs: Tuple[Path, ...], watch: bool, wide: bool, json_wanted: bool) -> None:
    """Show the progress of RUNS. Default: all submitted runs that have not ended."""
    from manifests.cli.overview import lines_of, status_rows
    from manifests.cli.run_table import terminal_width
    from manifests.cli.watching import watched

    host = host_context()
    for rows in watched(list(runs), host, warn) if watch else [status_rows(list(runs), host, warn)]:
        if watch and sys.stdout.isatty():
            click.clear()
        if json_wanted:
            as_json(rows)
        elif rows:
            say("\n".join(lines_of(rows, "status", wide=wide, width=terminal_width())))
        else:
            say("no run is under way")
