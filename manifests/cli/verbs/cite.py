"""``bundle.py cite``: a run for a paper"""

from __future__ import annotations

from pathlib import Path

import click

from container.reachable import file_here
from container.shell_word import shell_word
from container.trouble import Trouble
from manifests.cli.command_line import JSON, RUN, as_json, say, warn


@click.command()
@RUN
@JSON
def cite(run: Path, json_wanted: bool) -> None:
    """Print a paragraph on RUN for a paper, and a BibTeX entry.

    Authors and licence are those of the config.
    """
    from manifests.report.citation import Cited, bibtex, paragraph, values
    from manifests.rundir.directory import find_run
    from manifests.rundir.records import read_manifest, read_result
    from manifests.verdict.rerun_verdicts import whole_verdicts

    files = find_run(str(run))
    if not file_here(files.result):
        raise Trouble(
            f"{files.root}: has no result that could be cited",
            f"see how far it is: python bundle.py status {shell_word(files.root)}",
        )
    manifest = read_manifest(files, warn)
    verdicts = whole_verdicts(files, manifest, warn)
    identical = verdicts.count("identical")
    result = read_result(files, warn)
    cited = Cited(files.root.name, manifest, result, identical, len(verdicts))
    if json_wanted:
        as_json(values(cited))
    else:
        say(f"{paragraph(cited)}\n\n{bibtex(cited)}")
