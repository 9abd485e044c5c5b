"""``bundle.py export``: a run in one file that others import, check and run again"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Optional, Tuple

import click

from container.shell_word import shell_word
from container.trouble import Trouble
from manifests.cli.command_line import (
    DRY,
    JSON,
    MIRROR,
    MOVED,
    PATH,
    RUN,
    Words,
    as_json,
    host_context,
    note,
    say,
    say_next,
    warn,
)


@click.command()
@RUN
@click.option("-o", "--output", type=PATH, metavar="FILE", help="Default: ./<RUN>.bundle.tar.")
@click.option(
    "--with",
    "held",
    multiple=True,
    type=Words(["image", "packages", "data"]),
    help="Include the image, its packages (to rebuild it), or the data; repeatable.",
)
@click.option(
    "--states",
    default="all",
    show_default=True,
    metavar="WHICH",
    help="Checkpoints to include: all, last, none, or steps such as 100,200.",
)
@click.option(
    "--steps",
    metavar="S:T",
    help="Export what the steps after S up to T need only: state, images, packages.",
)
@click.option(
    "--anonymous", is_flag=True, help="Leave out names of accounts, hosts, folders (blind review)."
)
@MOVED
@MIRROR
@DRY
@JSON
def export(
    run: Path,
    output: Optional[Path],
    held: Tuple[str, ...],
    states: str,
    steps: Optional[str],
    anonymous: bool,
    moved: Tuple[str, ...],
    mirror: Optional[str],
    dry_run: bool,
    json_wanted: bool,
) -> None:
    """Write RUN to one file. The same run gives the same bytes.

    The file is a tar. `import` checks it and makes the run directory again, elsewhere.
    """
    from manifests.flows.export import Wanted, plan_export, write_planned
    from manifests.flows.recorded_data import parse_moved

    host = host_context()
    part = parse_steps(steps)
    if part is not None and states != "all":
        raise Trouble(
            f"--states {states}: not together with --steps, which chooses the state that it needs",
            "leave one of them out",
        )
    wanted = Wanted(frozenset(held), states, parse_moved(moved), mirror, anonymous, part)
    plan = plan_export(run, output, wanted, host, warn)
    for text in plan.notes:
        note(text)
    for name, count, size in plan.groups():
        say(f"{name:16} {count:8} files {size / 1e6:12.1f} MB", err=json_wanted)
    say(f"{'export':16} {plan.head.files:8} files {plan.size / 1e6:12.1f} MB", err=json_wanted)
    head = None if dry_run else write_planned(plan, host)
    if json_wanted:
        groups = [{"what": w, "files": n, "bytes": size} for w, n, size in plan.groups()]
        digest = {"digest": head.digest} if head else {}
        as_json({"file": str(plan.target), "bytes": plan.size, "groups": groups, **digest})
    elif head is not None:
        say(f"digest  {head.digest}")
        say(f"file    {plan.target}")
        say_next(f"elsewhere: python bundle.py import {shell_word(plan.target.name)}", err=True)


def parse_steps(text: Optional[str]) -> Optional[Tuple[int, Optional[int]]]:
    """``100:200``, or ``100:`` up to the last one. Raises Trouble."""
    if text is None:
        return None
    found = re.fullmatch(r"([0-9]{1,9}):([0-9]{1,9})?", text)
    if found is None:
        raise Trouble(
            f"--steps {text}: expected S:T, two numbers of steps",
            "for instance: --steps 100:200, or --steps 100: up to the last step",
        )
    return int(found[1]), int(found[2]) if found[2] else None
