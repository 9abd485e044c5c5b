"""``bundle.py build``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Optional

import click

from manifests.cli.command_line import (
    DRY,
    JSON,
    MIRROR,
    PATH,
    STACK,
    as_json,
    host_context,
    say,
    say_next,
)


@click.command()
@STACK
@MIRROR
@click.option("-o", "--output", type=PATH, help="Also copy the image to this file.")
@DRY
@JSON
def build(
    stack: str, mirror: Optional[str], output: Optional[Path], dry_run: bool, json_wanted: bool
) -> None:
    """Build the image of a stack from its lock. The same lock gives the same bytes."""
    from manifests.host.image_source import build_stack, describe_build
    from manifests.rundir.counted_folder import refuse_counted

    host = host_context()
    if dry_run:
        outlook = describe_build(stack, host)
        if json_wanted:
            as_json(outlook.values())
        else:
            say("\n".join(outlook.lines()))
        return
    if output is not None:
        refuse_counted(output, "name another file with -o")
    image = build_stack(stack, host, mirror=mirror, output=output)
    if json_wanted:
        as_json({**asdict(image), "path": str(image.path)})
        return
    say(f"{'built' if image.fresh else 'up to date'}: {image.path}")
    say(f"sha256 {image.sha256}")
    say_next(f"python bundle.py doctor --stack {stack}", err=True)
