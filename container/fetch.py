"""Filling the store: what it lacks is fetched, and all that is not available is listed at once."""

from __future__ import annotations

from pathlib import Path
from typing import List, Sequence, Tuple

from container.lock import LockedFile
from container.progress import Progress
from container.sources import Source
from container.store import Store
from container.trouble import Trouble

#: What the files are called in messages, the files, and who has them.
Share = Tuple[str, Sequence[LockedFile], Source]


def fill_store(store: Store, shares: Sequence[Share], arrivals: Path, progress: Progress) -> None:
    """Bring what the store lacks into it, by way of the folder ``arrivals`` beside it.

    Raises one Trouble with every problem of every source, and with each stored copy that was
    altered and could not be had again.
    """
    problems: List[str] = []
    next_steps: List[str] = []
    for what, files, source in shares:
        missing = [file for file in files if store.find(file) is None]
        if not missing:
            continue
        for fault in faults(store, missing):
            progress.stage(f"{fault}: fetching it again")
        try:
            _fetch(what, missing, source, store, arrivals, progress)
        except Trouble as error:
            problems += [*faults(store, missing), *error.problems]
            next_steps.append(error.next_step)
    if problems:
        raise Trouble(problems, "\n-> ".join(next_steps))


def faults(store: Store, files: Sequence[LockedFile]) -> List[str]:
    """A sentence on each stored copy that was altered."""
    return [fault for fault in map(store.fault, files) if fault is not None]


def _fetch(
    what: str,
    missing: Sequence[LockedFile],
    source: Source,
    store: Store,
    arrivals: Path,
    progress: Progress,
) -> None:
    arrivals.mkdir(exist_ok=True)
    with progress.track(f"fetching {what}", sum(file.size for file in missing), "B") as advance:

        def arrived(file: LockedFile, path: Path) -> None:
            store.adopt(path, file)
            advance(file.size)

        source.fetch(missing, arrivals, arrived)
