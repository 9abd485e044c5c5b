"""``bundle.py status``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Tuple

import click

from manifests.cli.command_line import JSON, RUNS, as_json, host_context, say, warn
from manifests.cli.terminal import table


@click.command()
@RUNS
@click.option("--watch", is_flag=True, help="Refresh until no run is active.")
@JSON
def status(runs: Tuple[Path, ...], watch: bool, json_wanted: bool) -> None:
    """Show how far RUNS are; without RUNS, all that were submitted and have not ended."""
    from manifests.cli.overview import status_columns, status_rows
    from manifests.cli.watching import watched

    host = host_context()
    for rows in watched(list(runs), host, warn) if watch else [status_rows(list(runs), host, warn)]:
        if watch and sys.stdout.isatty():
            click.clear()
        if json_wanted:
            as_json(rows)
        else:
            say(table(rows, status_columns(rows)) if rows else "no run is under way")
