"""The code of two runs -> what differs in it, as unified diffs of the snapshots' files"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, FrozenSet, List, Optional

from typing_extensions import Literal

from container.digest import sha256_of_bytes
from manifests.record.alteration import was_altered
from manifests.record.run_files import RunFiles
from manifests.record.schema import FileDigest
from manifests.rundir.snapshot import recorded_files
from manifests.verdict.run_record import RunRecord


@dataclass(frozen=True)
class FileDifference:
    """``diff`` holds the lines of a unified diff; one line that says why there is none where the
    file is not text, or is not there as it was recorded. ``executed`` by ranks: it may change bits.
    ``only_in``: the run that has it, where the other has not.
    """

    name: str
    executed: bool
    diff: List[str]
    only_in: Optional[Literal["a", "b"]] = None


def code_differences(a: RunRecord, b: RunRecord) -> List[FileDifference]:
    """Files whose recorded digests differ, those that ranks execute first; read from ``code/``."""
    of_a, of_b = recorded_files(a.manifest), recorded_files(b.manifest)
    executed = _executed(a) | _executed(b)
    names = sorted({*of_a, *of_b}, key=lambda name: (name not in executed, name))
    found = []
    for name in names:
        if of_a.get(name) != of_b.get(name):
            diff = _diff(name, _side(a, of_a, name), _side(b, of_b, name))
            only_in: Optional[Literal["a", "b"]] = None
            if (name in of_a) != (name in of_b):
                only_in = "a" if name in of_a else "b"
            found.append(FileDifference(name, name in executed, diff, only_in))
    return found


def _executed(record: RunRecord) -> FrozenSet[str]:
    """Up to version 1.2 a manifest does not tell these files from the others of its snapshot."""
    if record.manifest.circumstance.other_code is None:
        return frozenset()
    return frozenset(record.manifest.identity.code.files)


@dataclass(frozen=True)
class _Side:
    """A file as its run has it: ``data`` None where it was not part of the snapshot, and where it
    cannot be shown; then ``fault`` says why."""

    label: str
    digest: Optional[FileDigest]
    data: Optional[bytes] = None
    fault: str = ""


def _side(record: RunRecord, files: Dict[str, FileDigest], name: str) -> _Side:
    digest = files.get(name)
    if digest is None:
        return _Side(f"{name} (not there)", None)
    path = RunFiles(Path(record.path)).code / name
    try:
        data = path.read_bytes()
    except OSError as error:
        return _Side(name, digest, fault=f"{path}: cannot be read: {error.strerror}")
    found = sha256_of_bytes(data)
    if found != digest.sha256:
        return _Side(name, digest, fault=f"{path}: {was_altered(found, digest.sha256)}")
    return _Side(name, digest, data)


def _diff(name: str, a: _Side, b: _Side) -> List[str]:
    faults = [side.fault for side in (a, b) if side.fault]
    if faults:
        return faults
    head = _mode_change(name, a.digest, b.digest)
    if a.data == b.data:
        return head
    try:
        old, new = (_text_lines(side.data or b"") for side in (a, b))
    except ValueError:
        return [*head, f"{name}: is not text"]
    lines = list(difflib.unified_diff(old, new, f"a/{a.label}", f"b/{b.label}", lineterm=""))
    return [*head, *(lines or [f"{name}: only line ends differ"])]


def _text_lines(data: bytes) -> List[str]:
    """Raises ValueError where it is not text: no text has a NUL."""
    if b"\0" in data:
        raise ValueError("has a NUL")
    return data.decode("utf-8").splitlines()


def _mode_change(name: str, a: Optional[FileDigest], b: Optional[FileDigest]) -> List[str]:
    if a is None or b is None or a.executable == b.executable:
        return []
    return [f"{name}: {'no longer ' if a.executable else ''}executable"]
