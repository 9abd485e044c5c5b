"""``bundle.py clean``: what the cache and finished runs take, and removing what is not needed"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Sequence, Tuple

import click

from container.size_text import size_text
from container.trouble import Trouble, first_of
from manifests.cli.command_line import (
    DRY,
    JSON,
    RUNS,
    as_json,
    host_context,
    say,
    say_next,
    warn,
)

if TYPE_CHECKING:
    from manifests.flows.clean import Part, Piece

#: Option and name of a part, in the order in which they are shown.
PARTS = ("images", "store", "fingerprints", "builds", "checkpoints")


@click.command()
@RUNS
@click.option("--images", is_flag=True, help="Remove images of other recipes than this project's.")
@click.option("--store", is_flag=True, help="Remove stored inputs that no image needs.")
@click.option("--fingerprints", is_flag=True, help="Forget data sets that no listed run uses.")
@click.option("--builds", is_flag=True, help="Remove what killed builds and containers left.")
@click.option("--checkpoints", is_flag=True, help="Remove checkpoints of runs that are done.")
@click.option("--all", "everything", is_flag=True, help="All of these.")
@DRY
@JSON
def clean(
    runs: Tuple[Path, ...], everything: bool, dry_run: bool, json_wanted: bool, **asked: bool
) -> None:
    """Show what the cache takes; remove what is asked for.

    It looks at images, their inputs, digests of data sets, dead builds, and checkpoints. Without
    options nothing is removed. With RUNS: only the checkpoints of these. What a listed
    run that may go on needs stays. A rerun builds its image again.
    """
    from manifests.flows import clean as flow
    from manifests.flows.needs import needs_of
    from manifests.rundir.directory import find_run

    wanted = [name for name in PARTS if everything or asked[name]]
    if runs and wanted != ["checkpoints"]:
        raise Trouble("RUNS go with --checkpoints alone", "leave them out, or the other options")
    host = host_context()
    host.progress.stage("looking at the listed runs: what each still needs")
    needs = needs_of(host, warn)
    files = [find_run(run) for run in runs]
    flow.refuse_unknown(files, needs)
    for root in needs.unknown:
        warn(f"{root}: cannot be read; no image, stored input or fingerprint is removed")
    others = flow.others_may_need(host)
    if others and not {"images", "store"}.isdisjoint(wanted):
        warn(others)
    parts = flow.parts_of(host, needs, files)
    chosen = [part for part in parts if part.name in wanted]
    removed: List[str] = []
    freed, faults = 0, list[str]()
    if chosen and not dry_run:
        freed, faults = flow.remove(chosen, lambda piece: removed.append(str(piece.path)))
    if json_wanted:
        as_json({"cache": str(host.cache.root), "parts": [values(part) for part in parts],
                 "removed": removed, "freed": freed, "problems": faults})  # fmt: skip
    elif not chosen:
        say("\n".join(overview(host.cache.root, parts)))
        say_next("python bundle.py clean --images --dry-run shows what would go", err=True)
    else:
        say("\n".join(line for part in chosen for line in removal(part, dry_run)))
        say(f"{size_text(freed)} free now" if not dry_run else would_go(chosen))
    if faults:
        raise Trouble(first_of(faults), "get the right to write there, then try again")


def would_go(parts: Sequence[Part]) -> str:
    return f"{size_text(sum(part.removable_size for part in parts))} would go; nothing was removed"


def values(part: Part) -> Dict[str, Any]:
    return {
        "name": part.name,
        "bytes": part.size,
        "removable": part.removable_size,
        "loss": part.loss,
        "pieces": [
            {"path": str(piece.path), "bytes": piece.size, "kept": piece.why_kept or None}
            for piece in part.pieces
        ],
    }


def overview(cache: Path, parts: Sequence[Part]) -> List[str]:
    """A table of all parts; a line on what each is below its numbers."""
    lines = [f"in {cache}", f"{'':14}{'takes':>9}{'can go':>10}"]
    for part in parts:
        lines.append(
            f"{part.name:14}{size_text(part.size):>9}{size_text(part.removable_size):>10}"
            f"  {len(part.removable)} of {len(part.pieces)}"
        )
        lines += [f"    {part.what}", f"    when gone: {part.loss}"]
    return lines


def removal(part: Part, dry_run: bool) -> List[str]:
    """What goes, and what stays with its reason; equal reasons are counted."""
    verb = "would go" if dry_run else "removed"
    going = [f"  {verb}: {piece_text(piece)}" for piece in part.removable]
    kept: Dict[str, List[Piece]] = {}
    for piece in part.pieces:
        if piece.why_kept:
            kept.setdefault(piece.why_kept, []).append(piece)
    staying = [
        f"  kept: {pieces[0].path if len(pieces) == 1 else f'{len(pieces)} files'}, "
        f"{size_text(sum(piece.size for piece in pieces))}: {why}"
        for why, pieces in kept.items()
    ]
    total = f"{part.name}: {size_text(part.removable_size)} of {size_text(part.size)}"
    loss = [f"  when gone: {part.loss}"] if going else []
    return [total, *first_of(going), *first_of(staying), *loss]


def piece_text(piece: Piece) -> str:
    note = f", {piece.note}" if piece.note else ""
    return f"{piece.path}, {size_text(piece.size)}{note}"
