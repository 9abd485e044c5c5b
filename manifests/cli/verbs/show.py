"""``bundle.py show``."""

from __future__ import annotations

from pathlib import Path

import click

from manifests.cli.command_line import JSON, RUN, as_json, host_context, say, warn


@click.command()
@RUN
@JSON
def show(run: Path, json_wanted: bool) -> None:
    """Show the settings and results of RUN."""
    from manifests.cli.run_page import show_lines, show_values

    if json_wanted:
        as_json(show_values(run, host_context(), warn))
        return
    for line in show_lines(run, host_context(), warn):
        say(line)
