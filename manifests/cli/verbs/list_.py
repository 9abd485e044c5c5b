"""``bundle.py list``."""

from __future__ import annotations

from pathlib import Path
from typing import Tuple

import click

from manifests.cli.command_line import JSON, PATH, as_json, host_context, say, warn
from manifests.cli.terminal import table


@click.command("list")
@click.argument("outs", nargs=-1, type=PATH)
@JSON
def list_(outs: Tuple[Path, ...], json_wanted: bool) -> None:
    """List runs, newest last: those below OUTS, or all that were submitted from this account."""
    from manifests.cli.overview import LIST_COLUMNS, list_rows

    rows = list_rows(list(outs), host_context(), warn)
    if json_wanted:
        as_json(rows)
    else:
        say(table(rows, LIST_COLUMNS))
