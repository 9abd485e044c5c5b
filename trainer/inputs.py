"""What a run reads from its directory, checked against its manifest before anything is done."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from manifests.record.alteration import was_altered
from manifests.record.keys import IMAGE_SIDE, INPUT_SIDE
from manifests.record.mounts import TRAIN_MOUNT, TRAIN_PACK_MOUNT, VAL_MOUNT, VAL_PACK_MOUNT
from manifests.record.run_files import RunFiles
from manifests.record.schema import DataIdentity, Manifest, SampleSetIdentity
from manifests.record.version import SCHEMA_VERSION, UnsupportedVersion, check_version
from trainer.sampleset import SampleSet
from trainer.trouble import TrainerError

SUBMIT_AGAIN = "submit the run again, or start it from an unaltered copy of its directory"


def read_manifest(files: RunFiles) -> Manifest:
    """Raises TrainerError when the manifest is missing, unknown, incomplete or altered."""
    path = files.manifest
    try:
        text = path.read_bytes()
    except OSError as error:
        raise TrainerError(
            f"{path}: cannot be read: {error.strerror}", "give the run directory with --run"
        ) from error
    try:
        # The version first: a newer major version need not fit the model at all.
        check_version(_version_of(text))
        manifest = Manifest.model_validate_json(text)
    except UnsupportedVersion as error:
        raise TrainerError(f"{path}: {error}", "use the trainer of the run's own code/") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise TrainerError(f"{path}: {where}: {first['msg']}", SUBMIT_AGAIN) from error
    found = manifest.identity.digest()
    if found != manifest.identity_digest:
        raise TrainerError(
            f"{path}: identity was altered: its digest is {found}, "
            f"identity_digest says {manifest.identity_digest}",
            SUBMIT_AGAIN,
        )
    return manifest


def _version_of(text: bytes) -> object:
    """The version that a record claims; the known one when it is not a record at all."""
    try:
        record = json.loads(text)
    except ValueError:
        return SCHEMA_VERSION
    return record.get("version", SCHEMA_VERSION) if isinstance(record, dict) else SCHEMA_VERSION


def check_inputs(files: RunFiles, data: DataIdentity) -> None:
    """Raises TrainerError for the first input whose bytes are not those of the manifest."""
    _check_file(files.train_table, data.train.sha256)
    _check_lines(files.train_table, data.train)
    _check_file(files.val_table, data.val.sha256)
    _check_lines(files.val_table, data.val)
    _check_file(files.mean, data.mean.sha256)
    expected = ("float32", [3, IMAGE_SIDE, IMAGE_SIDE])
    if (data.mean.dtype, data.mean.shape) != expected:
        raise TrainerError(
            f"{files.mean}: holds {data.mean.dtype} {data.mean.shape}, "
            f"expected {expected[0]} {expected[1]}",
            "make the mean image from the training set's 256x256 images",
        )
    if data.initmodel is not None:
        _check_file(files.initmodel, data.initmodel)


def _check_file(path: Path, expected: str) -> None:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise TrainerError(f"{path}: cannot be read: {error.strerror}", SUBMIT_AGAIN) from error
    if digest.hexdigest() != expected:
        raise TrainerError(f"{path}: {was_altered(digest.hexdigest(), expected)}", SUBMIT_AGAIN)


def _check_lines(path: Path, samples: SampleSetIdentity) -> None:
    lines = path.read_bytes().count(b"\n")
    if lines != samples.samples:
        raise TrainerError(
            f"{path}: has {lines} lines, the manifest says {samples.samples} samples", SUBMIT_AGAIN
        )


@dataclass(frozen=True)
class Places:
    """Where the images of both sets lie, as this process sees it: folders, and packed files."""

    train_root: Path = Path(TRAIN_MOUNT)
    val_root: Path = Path(VAL_MOUNT)
    train_pack: Path = Path(TRAIN_PACK_MOUNT)
    val_pack: Path = Path(VAL_PACK_MOUNT)


def sample_sets(files: RunFiles, manifest: Manifest, places: Places) -> dict[str, SampleSet]:
    """What loaders need, by set name ``train`` and ``val``; raw for a run on GPUs."""
    training, paths = manifest.identity.training, manifest.circumstance.paths
    return {
        name: SampleSet(
            table=table,
            root=root,
            mean=files.mean,
            seed=training.seed,
            insize=training.insize,
            paper_side=INPUT_SIDE[training.arch][1],
            pack=pack,
            pack_name=pack_name or str(pack),
            raw=manifest.promises.gpu is not None,
        )
        for name, table, root, pack, pack_name in (
            ("train", files.train_table, places.train_root, places.train_pack, paths.train_pack),
            ("val", files.val_table, places.val_root, places.val_pack, paths.val_pack),
        )
    }
