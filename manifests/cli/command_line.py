"""What the verbs share: how they speak, and the options that more than one of them has.

Imported by every call, `bundle.py --help` too: nothing slow belongs here.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import click

from container.stack import DEFAULT_STACK
from manifests.cli.terminal import Drawn
from manifests.host.context import HostContext, read_host_context
from manifests.record.json_numbers import json_text

PROJECT = Path(__file__).resolve().parents[2]

JSON = click.option("--json", "json_wanted", is_flag=True, help="Print JSON.")
DRY = click.option("--dry-run", is_flag=True, help="Show what would be done; write nothing.")


#: More than this is a slip of the finger: each follow-up is a job in the scheduler's queue.
MOST_FOLLOW_UPS = 100
CHAIN = click.option(
    "--chain",
    type=click.IntRange(0, MOST_FOLLOW_UPS),
    default=0,
    metavar="N",
    help="Go on in up to N follow-up jobs when the walltime is over.",
)
GROUP = click.option("-g", "--group", help="Group or account to charge, instead of the recorded.")
PROCESSES = click.option(
    "--processes",
    type=int,
    metavar="P",
    help="Compute the ranks on P processes; the bits stay. Default: as recorded.",
)
NODES = click.option(
    "--nodes", type=int, metavar="N", help="Nodes for these processes, in equal shares."
)
MOVED = click.option(
    "--data",
    "moved",
    multiple=True,
    metavar="OLD=NEW",
    help="The data moved: replace the leading folder OLD of the recorded paths by NEW.",
)
STACK = click.option(
    "--stack", default=DEFAULT_STACK, show_default=True, help="The stack to use; cpu needs no GPU."
)
MIRROR = click.option(
    "--mirror", metavar="URL", help="Debian mirror to use instead of this machine's own."
)
RUN = click.argument("run", type=click.Path(path_type=Path))


def host_context() -> HostContext:
    return read_host_context(PROJECT, Drawn())


def say(text: str, err: bool = False) -> None:
    """What the user asked for; ``err`` where standard output is kept for JSON."""
    click.echo(text, err=err)


def note(text: str) -> None:
    """What goes along with it."""
    click.echo(f"bundle: {text}", err=True)


@cache  # a record is read more than once, its warning is said once
def warn(text: str) -> None:
    note(f"warning: {text}")


def as_json(value: Any) -> None:
    """Valid JSON for every reader: see manifests.record.json_numbers."""
    say(json_text(value))
