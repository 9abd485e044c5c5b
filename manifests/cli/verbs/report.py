"""``bundle.py report``."""

from __future__ import annotations

from pathlib import Path
from typing import Optional, Tuple

import click

from manifests.cli.command_line import NAMED_RUN, PATH, host_context, say, warn


@click.command()
@click.argument("runs", nargs=-1, required=True, type=NAMED_RUN)
@click.option(
    "-o",
    "--output",
    type=PATH,
    help="File to write, .html (default for one run: its report.html).",
)
def report(runs: Tuple[Path, ...], output: Optional[Path]) -> None:
    """Write a page on RUNS: verdict, steps, curves, differences. It is one HTML file.

    The others are compared with the first. One rerun alone is compared with its original.
    """
    from manifests.report.write import write_report

    say(str(write_report(list(runs), output, host_context(), warn)))
