"""``bundle.py crate``: descriptions of a run in forms that other tools read"""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import click

from manifests.cli.command_line import JSON, PATH, RUN, as_json, say, warn


@click.command()
@RUN
@click.option("-o", "--out", type=PATH, help="Write into this folder, not into RUN.")
@JSON
def crate(run: Path, out: Optional[Path], json_wanted: bool) -> None:
    """Describe RUN as an RO-Crate, with packages and samples.

    Writes ro-crate-metadata.json (Process Run Crate 0.5), image.cdx.json (CycloneDX) and
    croissant.json (Croissant). The same run gives the same bytes. `export` has them too.
    """
    from manifests.flows.describe import describe_run

    written = describe_run(run, out, warn)
    if json_wanted:
        as_json([str(path) for path in written])
    else:
        say("\n".join(map(str, written)))
