"""``bundle.py note``: a message, tags and notes of a run, whenever a person thinks of them"""

from __future__ import annotations

from pathlib import Path
from typing import Optional, Tuple

import click

from container.trouble import Trouble
from manifests.cli.command_line import JSON, RUN, as_json, host_context, say, warn


@click.command()
@RUN
@click.argument("text", nargs=-1)
@click.option("-m", "--message", help="Set the run's message; '' removes it.")
@click.option("--tag", "tags", multiple=True, help="Add this tag; repeatable.")
@click.option("--untag", "untags", multiple=True, help="Remove this tag; repeatable.")
@JSON
def note(
    run: Path,
    text: Tuple[str, ...],
    message: Optional[str],
    tags: Tuple[str, ...],
    untags: Tuple[str, ...],
    json_wanted: bool,
) -> None:
    """Add TEXT to the notes of RUN, or set its message and tags. Without these, show them.

    Notes, message and tags are metadata: `verify` and `compare` ignore them.
    """
    from manifests.cli.run_page import label_lines
    from manifests.rundir.directory import find_run
    from manifests.rundir.labels import (
        Note,
        line_problems,
        only_writer,
        read_labels,
        tag_problems,
        write_labels,
    )

    files, host = find_run(str(run)), host_context()
    with only_writer(files):
        labels, said = read_labels(files, warn), " ".join(text)
        problems = [
            *line_problems("TEXT", said),
            *line_problems("-m", message or ""),
            *tag_problems("--tag", tags),
        ]
        absent = [tag for tag in untags if tag not in (*labels.tags, *tags)]
        if problems or absent:
            step = (
                "write it in other words"
                if problems
                else f"its tags: {', '.join(labels.tags) or '-'}"
            )
            problems += [f"--untag: the run has no tag {tag!r}" for tag in absent]
            raise Trouble(problems, f"nothing was written; {step}")
        kept = [tag for tag in dict.fromkeys([*labels.tags, *tags]) if tag not in untags]
        notes = [Note(at=host.timestamp(), by=host.user, text=said)] if said else []
        changed = labels.model_copy(
            update={
                "message": labels.message if message is None else message or None,
                "tags": kept,
                "notes": [*labels.notes, *notes],
            }
        )
        if changed != labels:
            write_labels(files, changed)
    if json_wanted:
        as_json({"run": str(files.root), **changed.model_dump(mode="json")})
    else:
        say("\n".join(label_lines(changed) or ["nothing is said of it yet"]))
