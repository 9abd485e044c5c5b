"""``bundle.py compare``."""

from __future__ import annotations

from pathlib import Path

import click

from manifests.cli.command_line import JSON, NAMED_RUN, warn


@click.command()
@click.argument("first", type=NAMED_RUN)
@click.argument("second", type=NAMED_RUN)
@JSON
def compare(first: Path, second: Path, json_wanted: bool) -> None:
    """Compare the bits of two runs. If they differ, print the first step that does."""
    from manifests.cli.foreground import print_comparison
    from manifests.flows.rerun import compare_runs

    print_comparison(compare_runs(first, second, warn), json_wanted)
