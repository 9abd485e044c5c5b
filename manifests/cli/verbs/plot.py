"""``bundle.py plot``."""

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
    help="File to write: .pdf, .png or .svg (default for one run: its plot.png).",
)
def plot(runs: Tuple[Path, ...], output: Optional[Path]) -> None:
    """Draw loss and accuracy over the epochs. All RUNS are in one figure."""
    from manifests.cli.plot import plot_runs

    say(str(plot_runs(list(runs), output, host_context().cache.matplotlib, warn)))
