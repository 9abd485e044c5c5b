"""``bundle.py demo``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Optional

import click

from manifests.cli.command_line import MIRROR, PATH, host_context, say


@click.command()
@click.argument("folder", type=PATH, default=Path("demo"))
@MIRROR
def demo(folder: Path, mirror: Optional[str]) -> None:
    """Build, train, rerun and compare, on handwritten digits."""
    from manifests.cli.demo import run_demo
    from manifests.cli.foreground import wait_for_job

    sys.exit(run_demo(folder, host_context(), mirror=mirror, say=say, wait=wait_for_job))
