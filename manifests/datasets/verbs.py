"""``bundle.py data …``: the verbs that make and check data sets.

What a verb needs is imported when it is called, so that `bundle.py --help` stays fast.
"""

from __future__ import annotations

from pathlib import Path

import click

from manifests.command_line import around, say


@click.group()
def data() -> None:
    """Make and check data sets."""


@data.command()
@click.argument("folder", type=click.Path(path_type=Path))
def digits(folder: Path) -> None:
    """Make an 8-class set of 256x256 JPEG files of handwritten digits in FOLDER."""
    from manifests.datasets.digits import make_digits

    make_digits(folder, progress=around().progress)
    say(f"made {folder}: train.txt, val.txt, mean.npy")
