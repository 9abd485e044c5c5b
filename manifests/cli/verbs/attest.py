"""``bundle.py attest``: a run and the verdicts on it, as signed statements"""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import click

from manifests.cli.command_line import (
    DRY,
    JSON,
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
@click.option("--key", type=PATH, help="SSH key to sign with (default: the one in ~/.ssh).")
@click.option("-o", "--out", type=PATH, help="Write into this folder, not the run's statements/.")
@DRY
@JSON
def attest(
    run: Path, key: Optional[Path], out: Optional[Path], dry_run: bool, json_wanted: bool
) -> None:
    """Sign what RUN is and what its reruns showed.

    Writes in-toto statements: the run's provenance, and the verdict of each rerun of it. For a
    rerun, its own verdict goes to the run that it repeats. All is compared again before.
    """
    from container.shell_word import shell_word
    from manifests.flows.attest import attest as sign
    from manifests.flows.attest import plan_statements
    from manifests.host.ssh_signature import require_ssh_keygen, signing_key

    host = host_context()
    if dry_run:
        planned = [
            (f"{draft.folder}/{draft.stem}-KEY.json", draft.about)
            for draft in plan_statements(run, host, out=out, warn=warn)
        ]
        if json_wanted:
            as_json([{"file": file, "about": about} for file, about in planned])
        else:
            say("\n".join(f"{file}: {about}" for file, about in planned))
        return
    require_ssh_keygen(host.environ)
    chosen = signing_key(key, host.home)
    done = sign(plan_statements(run, host, out=out, warn=warn), chosen)
    if json_wanted:
        as_json(
            [{"file": str(one.path), "about": one.about, "changed": one.changed} for one in done]
        )
        return
    for one in done:
        say(f"{one.path}: {one.about}{'' if one.changed else ' (there already)'}")
    say_next(
        f"whose they are: python bundle.py verify {shell_word(run)} --signers FILE "
        "(docs/statements.md)",
        err=True,
    )
