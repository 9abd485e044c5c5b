"""Reruns of a run, and the run that a rerun repeats: found by their names and identity"""

from __future__ import annotations

from pathlib import Path
from typing import Dict, Iterable, List, Optional

from container.trouble import Trouble
from manifests.record.run_files import RunFiles
from manifests.record.schema import Manifest
from manifests.rundir.records import read_manifest
from manifests.rundir.run_names import (
    identity_in_manifest,
    known_runs,
    parse_run_name,
    renamed_runs,
)


def reruns_of(files: RunFiles, manifest: Manifest, folders: Iterable[Path] = ()) -> List[RunFiles]:
    """Reruns that have ended or have a verdict, by name: beside the run, and in ``folders``.
    Those in which parts were swapped are left out, and runs of one step for `rerun --zoom`.

    Names stay when folders are moved, so a copy of the run has the reruns that were copied with it.
    """
    found: Dict[str, RunFiles] = {}
    beside, elsewhere = [files.root.parent], list(folders)
    for path in [
        *known_runs(beside), *renamed_runs(beside), *known_runs(elsewhere),
        *renamed_runs(elsewhere),
    ]:  # fmt: skip
        again = RunFiles(path)
        if path.name in found or not (again.done.exists() or again.verdict.exists()):
            continue  # or a copy of one that lies beside the run
        if _is_rerun_of(again, files, manifest):
            found[path.name] = again
    return [found[name] for name in sorted(found)]


def _is_rerun_of(again: RunFiles, files: RunFiles, manifest: Manifest) -> bool:
    name = parse_run_name(again.root.name)
    if name is not None and not manifest.identity_digest.startswith(name.identity):
        return False
    if name is None and identity_in_manifest(again.root) != manifest.identity_digest:
        return False
    try:
        other = read_manifest(again)
    except Trouble:
        return False
    of = other.circumstance.rerun_of
    return (
        of is not None
        and not other.circumstance.swapped
        and other.circumstance.trace is None
        and Path(of).name == files.root.name
        and other.identity_digest == manifest.identity_digest
    )


def original_of(files: RunFiles, manifest: Manifest) -> Optional[RunFiles]:
    """The ended run that this rerun repeats; None where it is not there."""
    recorded = Path(manifest.circumstance.rerun_of or "")
    # Beside the rerun first: folders are copied whole, and their copies are of each other.
    for path in (files.root.parent / recorded.name, recorded):
        original = RunFiles(path)
        if not (original.manifest.is_file() and original.done.exists()):
            continue
        if read_manifest(original).identity_digest == manifest.identity_digest:
            return original
    return None
