"""``bundle.py doctor``: this host, and with ``--job`` an allocation, looked at."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Mapping

import click

from manifests.cli.command_line import (
    GROUP,
    JSON,
    STACK,
    as_json,
    called,
    host_context,
    say,
    sites_that_begin,
)

if TYPE_CHECKING:
    from manifests.host.finding import Finding


@click.command()
@click.option(
    "--site",
    default="local",
    show_default=True,
    shell_complete=sites_that_begin,
    help="Site to submit to.",
)
@STACK
@click.option("--job", is_flag=True, help="Also submit a small job that checks its nodes.")
@click.option("--nodes", type=click.IntRange(1), default=1, help="Number of nodes of that job.")
@click.option("--nodetype", help="Node type of that job (default: the smallest for two ranks).")
@GROUP
@JSON
def doctor(site: str, stack: str, job: bool, json_wanted: bool, **asked: Any) -> None:
    """Check if this host can build images and submit runs. Exit code 2 if it cannot."""
    from manifests.doctor.examination import examine
    from manifests.doctor.job_check import JobOptions

    wanted = JobOptions(**asked) if job else None
    sys.exit(report(examine(site, stack, host_context(), job=wanted), json_wanted))


def report(findings: Mapping[str, Finding], json_wanted: bool) -> int:
    """Print the findings; return the exit code."""
    from manifests.host.finding import as_values, exit_code, lines, tally, worst

    if json_wanted:
        as_json(
            {
                "state": worst(finding.state for finding in findings.values()),
                "findings": as_values(findings),
            }
        )
    else:
        from manifests.cli.bars import say_findings  # Rich is slow to import

        say_findings((state, called(text), called(below)) for state, text, below in lines(findings))
        say(tally(findings))
    return exit_code(findings)
