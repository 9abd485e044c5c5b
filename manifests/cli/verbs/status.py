"""``bundle.py status``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Sequence, Tuple

import click

from manifests.cli.command_line import JSON, RUNS, WIDE, as_json, host_context, say, warn

if TYPE_CHECKING:
    from manifests.host.context import HostContext


@click.command()
@RUNS
@click.option("--watch", is_flag=True, help="Refresh until no run is active; keys choose a run.")
@WIDE
@JSON
def status(runs: Tuple[Path, ...], watch: bool, wide: bool, json_wanted: bool) -> None:
    """Show the progress of RUNS. Default: all submitted runs that have not ended.

    --watch on a terminal: enter shows a run's loss curve, jobs and log, c puts two runs beside
    each other, q quits.
    """
    from manifests.cli.overview import status_rows
    from manifests.cli.watching import watched

    host = host_context()
    if not watch:
        say_rows(status_rows(list(runs), host, warn), wide, json_wanted)
    elif not json_wanted and not wide and can_be_redrawn():
        show_live(list(runs), host)
    else:
        for rows in watched(list(runs), host, warn):
            say_rows(rows, wide, json_wanted)


def say_rows(rows: Sequence[Dict[str, Any]], wide: bool, json_wanted: bool) -> None:
    from manifests.cli.overview import lines_of
    from manifests.cli.run_table import terminal_width

    if json_wanted:
        as_json(rows)
    elif rows:
        say("\n".join(lines_of(rows, "status", wide=wide, width=terminal_width())))
    else:
        say("no run is under way")


def can_be_redrawn() -> bool:
    """Whether standard output is a terminal with more than lines."""
    return sys.stdout.isatty() and os.environ.get("TERM", "") not in ("", "dumb", "unknown")


def show_live(runs: List[Path], host: HostContext) -> None:
    """The live view; below what was on the terminal before, it leaves how the runs are now."""
    from manifests.cli.live_screen import show
    from manifests.cli.watching import Watch
    from manifests.host.interrupts import Ended, exit_code_of

    said: Dict[str, None] = {}
    try:
        rows = show(Watch(runs, host, lambda text: said.setdefault(text)), bool(runs))
    except Ended as error:
        sys.exit(exit_code_of(error))
    for text in said:
        warn(text)
    say_rows(rows, False, False)
