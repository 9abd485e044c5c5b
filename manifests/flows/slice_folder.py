"""A folder of slices: its record held against the run, the slices in it, one gatherer at a time"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from pathlib import Path
from typing import Dict, Iterator, Optional, Sequence

from container.trouble import Trouble
from manifests.flows.slice_plan import whole_record
from manifests.record.checkpoint_names import step_of
from manifests.record.run_files import RunFiles
from manifests.record.schema import Slice
from manifests.record.slice_set import (
    SetFiles,
    SliceSet,
    Steps,
    drawn,
    slices_between,
)
from manifests.rundir.present_states import present_states
from manifests.rundir.records import Warn, ignore, read_manifest, read_record


def read_slices(folder: Path, warn: Warn = ignore) -> SliceSet:
    """Raises Trouble where the folder has no whole record of slices."""
    return read_record(SetFiles(folder).plan, SliceSet, warn)


def refuse_other_set(folder: Path, record: SliceSet, old: RunFiles, warn: Warn = ignore) -> None:
    """Raise Trouble where a record of slices is not one of this run: its root and steps bind the
    verdict, and a sample is one only as the root and the seed draw it."""
    manifest = read_manifest(old, warn)
    result = whole_record(old, warn).result
    root, steps = None if result is None else result.root, manifest.identity.steps
    problems = [
        f"{name} is {found}, the run has {expected}"
        for name, found, expected in (
            ("identity_digest", record.identity_digest, manifest.identity_digest),
            ("root", record.root, root),
            ("steps", record.steps, steps),
        )
        if found != expected
    ]
    if record.seed is not None and not problems:
        recorded = [one.step for one in (result.states if result else None) or []]
        present = [s for s in map(step_of, present_states(old)) if s]
        divided = [
            slices_between([s for s in states if s < steps], steps)
            for states in (recorded, present)
        ]
        # States that are gone by now were there, or were not, when the slices were drawn.
        if not any(_is_draw(record, chosen) for chosen in divided):
            problems = [f"slices are not those that the root and seed {record.seed} draw"]
    if problems:
        plan = SetFiles(folder).plan
        raise Trouble(
            [f"{plan}: {problem}" for problem in problems],
            "restore the file from a copy, or check the run anew, without --gather",
        )


def _is_draw(record: SliceSet, chosen: Sequence[Steps]) -> bool:
    numbers = drawn(str(record.root), str(record.seed), len(chosen), len(record.slices))
    return record.of == len(chosen) and record.slices == [chosen[k] for k in numbers]


def slice_of(files: RunFiles) -> Optional[Slice]:
    return read_manifest(files).circumstance.slice if files.manifest.exists() else None


def found_slices(folder: Path) -> Dict[Steps, RunFiles]:
    """The run directories of a folder by the steps that they were asked for; of two with the same
    steps the older."""
    found: Dict[Steps, RunFiles] = {}
    for path in sorted(folder.iterdir()):
        part = slice_of(RunFiles(path)) if path.is_dir() else None
        if part is not None:
            found.setdefault((part.after, part.end), RunFiles(path))
    return found


@contextmanager
def only_gatherer(folder: Path) -> Iterator[None]:
    """Keep a second one out. Raises Trouble while another process gathers here."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Trouble(
                f"{folder}: is being gathered by another process", "wait for its end"
            ) from None
        except OSError:
            pass  # a file system without locks: two gatherers would start a slice twice at worst
        yield
    finally:
        os.close(descriptor)
