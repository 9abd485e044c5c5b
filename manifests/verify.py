"""A run directory against its manifest: every mismatch, none of them in silence."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, List, Optional

from container.digest import sha256_of_file
from container.progress import Progress
from container.trouble import Trouble
from manifests.datasets.table import table_problems
from manifests.records import read_manifest, read_object, read_result, read_trail, trail_digest
from manifests.schema import (
    ImageIdentity,
    Manifest,
    Result,
    RunFiles,
    SampleSetIdentity,
    digest_of,
)
from manifests.snapshot import snapshot_problems

#: Where the image with this identity lies on this machine; None when it is not there.
ImageLookup = Callable[[ImageIdentity], Optional[Path]]


def _file_problems(path: Path, name: str, expected: str) -> List[str]:
    try:
        found = sha256_of_file(path)
    except FileNotFoundError:
        return [f"{name}: is missing"]
    except OSError as error:
        return [f"{name}: cannot be read: {error.strerror}"]
    if found != expected:
        return [f"{name}: was altered: sha256 {found}, expected {expected}"]
    return []


def identity_problems(files: RunFiles) -> List[str]:
    """Whether the identity digest is that of the identity as it stands in the file.

    Raises Trouble when the manifest is no JSON object.
    """
    raw = read_object(files.manifest)
    found, expected = digest_of(raw.get("identity")), raw.get("identity_digest")
    if found == expected:
        return []
    return [f"manifest.json: identity has the digest {found}, identity_digest says {expected}"]


def input_problems(files: RunFiles, manifest: Manifest) -> List[str]:
    """Mismatches of ``inputs/``: tables, mean image, initial model."""
    data = manifest.identity.data
    return [
        *_file_problems(files.train_table, "inputs/train.tsv", data.train.sha256),
        *_file_problems(files.val_table, "inputs/val.tsv", data.val.sha256),
        *_file_problems(files.mean, "inputs/mean.npy", data.mean.sha256),
        *(
            _file_problems(files.initmodel, "inputs/initmodel.npz", data.initmodel)
            if data.initmodel
            else []
        ),
    ]


def data_problems(
    files: RunFiles,
    manifest: Manifest,
    *,
    train_root: Path,
    val_root: Path,
    cache_folder: Optional[Path],
    progress: Progress,
) -> List[str]:
    """Images that are missing or altered; a table that is itself altered is passed over here."""
    problems: List[str] = []
    sets = (
        (files.train_table, train_root, manifest.identity.data.train),
        (files.val_table, val_root, manifest.identity.data.val),
    )
    for table, root, identity in sets:
        if _table_is(table, identity):
            problems += table_problems(table, root, cache_folder=cache_folder, progress=progress)
    return problems


def _table_is(table: Path, identity: SampleSetIdentity) -> bool:
    return not _file_problems(table, table.name, identity.sha256)


def before_problems(
    files: RunFiles,
    manifest: Manifest,
    *,
    train_root: Path,
    val_root: Path,
    cache_folder: Optional[Path],
    progress: Progress,
) -> List[str]:
    """Why this run cannot be repeated: manifest, snapshot, inputs, images that are not as recorded.

    ``cache_folder`` is the fingerprint cache; None reads every image.
    """
    return [
        *identity_problems(files),
        *snapshot_problems(files.code, manifest.identity.code),
        *input_problems(files, manifest),
        *data_problems(
            files,
            manifest,
            train_root=train_root,
            val_root=val_root,
            cache_folder=cache_folder,
            progress=progress,
        ),
    ]


def image_problems(image: ImageIdentity, path: Optional[Path], progress: Progress) -> List[str]:
    """Whether the SIF file at ``path`` is the one of the manifest."""
    if path is None or not path.is_file():
        return [f"image: no file with sha256 {image.sha256} (stack {image.stack}) is here"]
    with progress.track("check the image", path.stat().st_size, "B") as advance:
        found = sha256_of_file(path, advance)
    if found == image.sha256:
        return []
    return [f"image: {path} was altered: sha256 {found}, expected {image.sha256}"]


def result_problems(files: RunFiles, manifest: Manifest) -> List[str]:
    """Mismatches between result, trail, model and DONE."""
    problems = [] if files.done.exists() else ["DONE: is missing, the run is not complete"]
    try:
        result = read_result(files)
    except Trouble as trouble:
        return [*problems, *trouble.problems]
    return [
        *problems,
        *outcome_problems(files, manifest, result),
        *_trail_problems(files, manifest.identity.world.ranks, result),
    ]


def outcome_problems(files: RunFiles, manifest: Manifest, result: Result) -> List[str]:
    """What does not fit together of result, manifest and model; the trail aside."""
    problems = []
    digests = result.digests
    if result.identity_digest != manifest.identity_digest:
        problems.append(
            f"result.json: is that of identity {result.identity_digest}, "
            f"the manifest's is {manifest.identity_digest}"
        )
    tensors = digest_of(digests.tensors)
    if tensors != digests.parameters:
        problems.append(
            f"result.json: digests.tensors have the digest {tensors}, "
            f"digests.parameters says {digests.parameters}"
        )
    return problems + _file_problems(files.model, "results/model.npz", digests.model)


def altered_trail(found: str, result: Result) -> str:
    return f"results/trail: was altered: sha256 {found}, expected {result.digests.trail}"


def _trail_problems(files: RunFiles, ranks: int, result: Result) -> List[str]:
    try:
        found = trail_digest(files, ranks)
        if found != result.digests.trail:
            return [altered_trail(found, result)]
        trail = read_trail(files, ranks)
    except Trouble as trouble:
        return trouble.problems
    problems = []
    for rank, records in enumerate(trail):
        last = records[-1].step if records else 0
        if last != result.steps:
            problems.append(
                f"results/trail: rank {rank} ends at step {last}, result.json has {result.steps}"
            )
    last_tensors = [record.parameters for record in trail[0] if record.parameters is not None]
    if last_tensors and last_tensors[-1] != result.digests.tensors:
        problems.append("results/trail: its last parameters are not those of result.json")
    return problems


def verify_run(
    files: RunFiles,
    *,
    image_path: ImageLookup,
    progress: Progress,
    check_data: bool = True,
    train_root: Optional[Path] = None,
    val_root: Optional[Path] = None,
    cache_folder: Optional[Path] = None,
) -> List[str]:
    """Return every mismatch between a run directory, its image, its data and its manifest.

    Roots default to those of the manifest; ``cache_folder`` None reads every image again. Raises
    Trouble when the manifest itself cannot be read.
    """
    manifest = read_manifest(files)
    paths = manifest.circumstance.paths
    problems = [
        *identity_problems(files),
        *snapshot_problems(files.code, manifest.identity.code),
        *input_problems(files, manifest),
    ]
    image = manifest.identity.image
    problems += image_problems(image, image_path(image), progress)
    if check_data:
        problems += data_problems(
            files,
            manifest,
            train_root=train_root or Path(paths.train_root),
            val_root=val_root or Path(paths.val_root),
            cache_folder=cache_folder,
            progress=progress,
        )
    return problems + result_problems(files, manifest)
