"""``bundle.py compare``."""

from __future__ import annotations

from pathlib import Path

import click

from manifests.cli.command_line import JSON, NAMED_RUN, warn


@click.command()
@click.argument("first", type=NAMED_RUN)
@click.argument("second", type=NAMED_RUN)
@click.option("--full", is_flag=True, help="Print whole digests and numbers, and all differences.")
@JSON
def compare(first: Path, second: Path, full: bool, json_wanted: bool) -> None:
    """Compare the bits of two runs. If they differ, print the first step that does.

    Code that differs is printed as a diff. --json has all.
    """
    from manifests.cli.foreground import print_comparison
    from manifests.rundir.directory import find_run
    from manifests.verdict.code_difference import code_differences
    from manifests.verdict.run_pair import compare_read_runs, read_for_comparison

    a, b = (read_for_comparison(find_run(run), warn) for run in (first, second))
    code = code_differences(a.record, b.record)
    print_comparison(compare_read_runs(a, b).comparison, json_wanted, code, full=full)
