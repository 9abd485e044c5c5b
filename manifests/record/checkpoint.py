"""Checkpoint files: what both sides of the container must know of them.

A checkpoint is a zip archive without compression: one .npy file (version 1.0 of NumPy's format, no
pickles) per array, and ``head.json``.

    parameters/<name>.npy           every parameter
    optimizer/<name>.npy            every array of the optimizer
    statistics/<rank>/<name>.npy    running statistics of each rank

The head names every entry with the sha256 of its bytes. Only the standard library and pydantic are
used here, for the trainer imports this file too.
"""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import AbstractSet, Dict, Iterator, List, Optional, Tuple

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import Literal

from manifests.record.canonical_json import digest_of
from manifests.record.outcome import SeenGpus
from manifests.record.run_files import RunFiles
from manifests.record.schema import Identity
from manifests.record.version import SCHEMA_VERSION, check_version

HEAD = "head.json"

#: Bytes that zipfile reads at once.
_BLOCK = 1 << 20


def steps_digest(identity: Identity, counted: Optional[Tuple[str, ...]] = None) -> str:
    """Digest of what decides the bits of each step that two runs both have.

    The number of epochs does not: it says where the steps end, no schedule is stretched by it.
    Identities up to version 1.2 have files that no rank executes: there ``counted`` holds the
    beginnings of the names of those that count.
    """
    values = identity.model_dump(mode="json")
    del values["training"]["epochs"]
    files = values["code"]["files"].items()
    values["code"] = {n: file for n, file in files if counted is None or n.startswith(counted)}
    return digest_of(values)


class Damaged(ValueError):
    """Not a whole checkpoint; the text says what is wrong, without the file's name."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)


class Prefix(_Part):
    """The first ``length`` bytes of a growing file and their sha256."""

    length: int = Field(ge=0)
    sha256: str


class Sums(_Part):
    """What one rank has added up since the last row of the log (trainer.log)."""

    loss: float
    correct: int
    correct_top5: int
    samples: int
    seconds: float


class Head(_Part):
    """``steps_digest`` is that of the run's identity; lists are by rank.

    ``step`` updates are done. ``resumed_at`` holds the steps at which the run was resumed before,
    ``elapsed`` its seconds so far. ``gpus`` are those of the job that wrote it.
    """

    version: str = SCHEMA_VERSION
    kind: Literal["checkpoint"] = "checkpoint"
    identity_digest: str
    steps_digest: str
    step: int = Field(ge=1)
    ranks: int = Field(ge=1)
    entries: Dict[str, str]
    trail: List[Prefix]
    log: Prefix
    sums: List[Sums]
    elapsed: float
    resumed_at: List[int]
    gpus: Optional[SeenGpus] = None


def read_head(path: Path) -> Head:
    """Raises Damaged when the file is not a checkpoint, OSError when it cannot be read."""
    with _opened(path) as archive:
        return _head_of(archive)


def read_entries(
    path: Path, wanted: Optional[AbstractSet[str]] = None
) -> Iterator[Tuple[str, bytes]]:
    """Yield (name, bytes of the .npy file) of the wanted arrays (all), held against their digests.

    Raises Damaged for one that is missing, altered or unknown, OSError as :func:`read_head`.
    """
    with _opened(path) as archive:
        head = _head_of(archive)
        odd = sorted((set(archive.namelist()) - {HEAD}) ^ head.entries.keys())
        if odd:
            state = "is missing" if odd[0] in head.entries else "is not in the head"
            raise Damaged(f"{odd[0]} {state}")
        for name in sorted(head.entries.keys() if wanted is None else wanted):
            if name not in head.entries:
                raise Damaged(f"{name} is missing")
            data = _read(archive, name)
            if hashlib.sha256(data).hexdigest() != head.entries[name]:
                raise Damaged(f"{name} was altered")
            yield name, data


def damage(path: Path) -> Optional[str]:
    """What is wrong with a checkpoint file, None when it is whole. Reads all of it."""
    try:
        for _ in read_entries(path):
            pass
    except Damaged as error:
        return str(error)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return None


def prefix_fits(path: Path, prefix: Prefix) -> bool:
    """Whether a file begins with these bytes."""
    digest = hashlib.sha256()
    left = prefix.length
    try:
        with path.open("rb") as stream:
            while left and (block := stream.read(min(left, _BLOCK))):
                digest.update(block)
                left -= len(block)
    except FileNotFoundError:
        return False
    return left == 0 and digest.hexdigest() == prefix.sha256


def cut_records(head: Head, files: RunFiles) -> str:
    """The first of a run's growing files that does not begin with what it held at the checkpoint,
    as a sentence; "" if none."""
    records = [(files.trail_of(rank), prefix) for rank, prefix in enumerate(head.trail)]
    for path, prefix in [*records, (files.log, head.log)]:
        if not prefix_fits(path, prefix):
            name = path.relative_to(files.root)
            return f"{name} does not begin with the {prefix.length} bytes it had"
    return ""


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError) as error:
        raise Damaged("is cut off or no checkpoint") from error


def _read(archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        entry = archive.getinfo(name)
        if entry.compress_type != zipfile.ZIP_STORED:
            raise ValueError("is compressed")
        return archive.read(entry)
    # A flipped byte may sit in an array, in a local header or in the directory at the end.
    except (zipfile.BadZipFile, KeyError, EOFError, ValueError, NotImplementedError, RuntimeError):
        raise Damaged(f"{name} cannot be read") from None


def _head_of(archive: zipfile.ZipFile) -> Head:
    text = _read(archive, HEAD)
    try:
        head = Head.model_validate_json(text)
        check_version(head.version)
    except ValueError as error:  # pydantic's error and UnsupportedVersion are ValueErrors
        raise Damaged(f"{HEAD} is not one of this version") from error
    return head
