"""``bundle.py verify``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Optional, Tuple

import click

from container.trouble import first_of
from manifests.cli.command_line import (
    JSON,
    MOVED,
    PATH,
    RUN,
    as_json,
    host_context,
    say,
    say_next,
    warn,
)


@click.command()
@RUN
@MOVED
@click.option("--no-data", is_flag=True, help="Do not read the images of the data set.")
@click.option(
    "--signers",
    type=PATH,
    metavar="FILE",
    help="Accept statements of these keys only (an allowed_signers file, see ssh-keygen(1)).",
)
@JSON
def verify(
    run: Path, moved: Tuple[str, ...], no_data: bool, signers: Optional[Path], json_wanted: bool
) -> None:
    """Check RUN against its manifest; list every mismatch.

    If the run has not ended, the existing files are checked. 20 mismatches are printed;
    --json has all.
    """
    from manifests.flows.recorded_data import parse_moved
    from manifests.flows.verify import verify_whole

    done = verify_whole(
        run,
        host_context(),
        moved=parse_moved(moved),
        check_data=not no_data,
        signers=signers,
        warn=warn,
    )
    if json_wanted:
        as_json(
            {
                "run": str(run),
                "state": done.state,
                "problems": done.problems,
                "statements": [check.as_json() for check in done.statements],
            }
        )
    else:
        signed = [check.text for check in done.statements if not check.problems]
        if signers is not None and not done.statements:
            signed = ["statements: the run has none"]
        say("\n".join([*first_of(done.problems), *signed, done.text]))
        if done.next_step:
            say_next(done.next_step, err=True)
    sys.exit(1 if done.problems else 0)
