"""``bundle.py verify``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Tuple

import click

from manifests.cli.command_line import JSON, MOVED, RUN, as_json, host_context, say, warn


@click.command()
@RUN
@MOVED
@click.option("--no-data", is_flag=True, help="Do not read the images of the data set.")
@JSON
def verify(run: Path, moved: Tuple[str, ...], no_data: bool, json_wanted: bool) -> None:
    """Hold everything in RUN against its manifest and name every mismatch."""
    from manifests.flows.rerun import parse_moved, verify_whole

    problems = verify_whole(
        run, host_context(), moved=parse_moved(moved), check_data=not no_data, warn=warn
    )
    if json_wanted:
        as_json({"run": str(run), "problems": problems})
    else:
        end = f"{len(problems)} mismatches" if problems else "verified: nothing differs"
        say("\n".join([*problems, end]))
    sys.exit(1 if problems else 0)
