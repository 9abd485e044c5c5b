"""``bundle.py lock``."""

from __future__ import annotations

from typing import Optional

import click

from manifests.cli.command_line import DRY, MIRROR, STACK, host_context, say


@click.command()
@STACK
@MIRROR
@DRY
def lock(stack: str, mirror: Optional[str], dry_run: bool) -> None:
    """Resolve the versions of a stack and write its lock. They come from this machine's mirrors."""
    from manifests.host.image_source import write_lock

    for line in write_lock(stack, host_context(), mirror=mirror, dry_run=dry_run):
        say(line)
