"""``bundle.py doctor``: this host, and with ``--job`` an allocation, looked at."""

from __future__ import annotations

import sys
from typing import Any

import click

from manifests.command_line import GROUP, JSON, STACK, around


@click.command()
@click.option("--site", default="local", show_default=True, help="The site to submit to from here.")
@STACK
@click.option("--job", is_flag=True, help="Also submit a small job that looks at its nodes.")
@click.option("--nodes", type=click.IntRange(1), default=1, help="Nodes of that job.")
@click.option("--nodetype", help="Their type (default: the smallest for two ranks).")
@GROUP
@JSON
def doctor(site: str, stack: str, job: bool, json_wanted: bool, **asked: Any) -> None:
    """Look at this host: can runs be built, submitted and trusted here? Exit code 2 if not."""
    from manifests.doctor import examine, report
    from manifests.doctor_job import Asked

    wanted = Asked(**asked) if job else None
    sys.exit(report(examine(site, stack, around(), job=wanted), json_wanted))
