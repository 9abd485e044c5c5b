"""``bundle.py list``."""

from __future__ import annotations

from pathlib import Path
from typing import List, Optional, Tuple

import click

from manifests.cli.command_line import JSON, PATH, WIDE, Words, as_json, host_context, say, warn


def states_that_begin(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> List[str]:
    from manifests.cli.run_filter import STATES

    return [state for state in STATES if state.startswith(incomplete)]


def networks_that_begin(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> List[str]:
    from manifests.record.keys import Arch, values_of

    return [name for name in values_of(Arch) if name.startswith(incomplete)]


@click.command("list")
@click.argument("outs", nargs=-1, type=PATH)
@click.option(
    "--state",
    "states",
    multiple=True,
    shell_complete=states_that_begin,
    help="Only runs in this state; repeatable.",
)
@click.option("--arch", shell_complete=networks_that_begin, help="Only runs of this network.")
@click.option("--tag", "tags", multiple=True, help="Only runs with this tag; repeatable.")
@click.option("--since", help="Only runs submitted since then: 2026-01-31, 3d, 12h.")
@click.option(
    "--sort",
    "order",
    type=Words(["created", "name", "state", "took", "loss", "accuracy", "arch"]),
    default="created",
    show_default=True,
    help="Sort key; the largest comes last.",
)
@click.option("-r", "--reverse", is_flag=True, help="Reverse the order.")
@click.option("-n", "count", type=click.IntRange(1), metavar="N", help="Only the last N runs.")
@WIDE
@JSON
def list_(
    outs: Tuple[Path, ...],
    states: Tuple[str, ...],
    arch: Optional[str],
    tags: Tuple[str, ...],
    since: Optional[str],
    order: str,
    reverse: bool,
    count: Optional[int],
    wide: bool,
    json_wanted: bool,
) -> None:
    """List the runs below OUTS, newest last. Default: all submitted from this account.

    Times are local; names of runs have UTC.
    """
    from manifests.cli.overview import lines_of, list_rows
    from manifests.cli.run_filter import chosen, in_order, parse_since, refuse_unknown
    from manifests.cli.run_table import terminal_width

    host = host_context()
    refuse_unknown(states, arch)
    begin = parse_since(since, host.now()) if since else None
    rows = chosen(
        list_rows(list(outs), host, warn), states=states, arch=arch, tags=tags, since=begin
    )
    rows = in_order(rows, order, reverse=reverse, count=count)
    if json_wanted:
        as_json(rows)
    elif rows:
        say("\n".join(lines_of(rows, "list", wide=wide, width=terminal_width())))
    else:
        say("no run is there" if not any((states, arch, tags, since)) else "no run is like that")
