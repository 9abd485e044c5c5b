"""``bundle.py data …``: the verbs that make and check data sets.

What a verb needs is imported when it is called, so that `bundle.py --help` stays fast.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Optional

import click

from manifests.command_line import DRY, JSON, around, as_json, say

PATH = click.Path(path_type=Path)
WORKERS = click.option(
    "--workers",
    type=click.IntRange(1, 1024),
    help="Processes that share the work (default: one per core that may be used).",
)


@click.group()
def data() -> None:
    """Make and check data sets."""


@data.command()
@click.argument("folder", type=PATH)
def digits(folder: Path) -> None:
    """Make an 8-class set of 256x256 JPEG files of handwritten digits in FOLDER."""
    from manifests.datasets.digits import make_digits

    make_digits(folder, progress=around().progress)
    say(f"made {folder}: train.txt, val.txt, mean.npy")


@data.command()
@click.argument("source", type=PATH)
@click.argument("target", type=PATH)
@WORKERS
@DRY
@JSON
def crop(
    source: Path, target: Path, workers: Optional[int], dry_run: bool, json_wanted: bool
) -> None:
    """Make 256x256 JPEG files in TARGET of the original images in SOURCE.

    Short side to 256, then the centre. Only what is missing or out of date is made, so that a
    crop that was stopped goes on. Exit code 2 if originals cannot be used; the others are done.
    """
    from manifests.datasets.crop import crop as crop_images

    started = time.monotonic()
    done = crop_images(source, target, progress=around().progress, workers=workers, dry_run=dry_run)
    if json_wanted:
        as_json(done.values())
        sys.exit(2 if done.unusable else 0)
    for line in done.lines():
        say(line)
    if done.made and not dry_run:
        seconds = time.monotonic() - started
        say(f"{seconds:.1f} s, {(done.made + done.kept) / seconds:.0f} images/s")
    done.refuse_unusable()
