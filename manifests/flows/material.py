"""Material: what goes into a run directory, read and digested before anything is written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, List, Optional

from container import atomic
from container.recipe import Recipe
from container.trouble import Trouble
from manifests.config.run_config import RunConfig
from manifests.datasets.inputs import Fingerprints, Lists, read_images, read_packs
from manifests.flows.request import Request
from manifests.host.context import HostContext
from manifests.record.run_files import RunFiles
from manifests.rundir.rank_code import load_imports, save_imports
from manifests.rundir.shared_inputs import share_bytes
from manifests.rundir.snapshot import Snapshot, copy_snapshot, take_snapshot
from manifests.rundir.snapshot_size import large_text

if TYPE_CHECKING:
    from manifests.flows.continuation import Continuation


@dataclass(frozen=True)
class Material:
    """Code, data and, where the run goes on from another one, its checkpoint."""

    snapshot: Snapshot
    images: Fingerprints
    before: Optional[Continuation]
    warnings: List[str]


def read_material(
    request: Request, recipe: Recipe, host: HostContext, *, read_only: bool
) -> Material:
    """Take the snapshot and fingerprint the data. Raises Trouble for what cannot be part of a run.

    ``read_only`` leaves even the caches as they are.
    """
    config = request.config
    warnings: List[str] = []
    before = beginning(config, warnings)
    data = [config.train_root, config.val_root, config.train_pack, config.val_pack]
    snapshot = code_snapshot(
        host, [config.out, *data], warnings, config.snapshot_limit, read_only=read_only
    )
    images = fingerprints(config, request.lists, recipe, host, read_only=read_only)
    return Material(snapshot, images, before, warnings)


def fill_run(target: RunFiles, request: Request, material: Material) -> None:
    """Write config, code and inputs into the new run directory ``target``."""
    atomic.write_bytes(target.config, request.config_path.read_bytes())
    copy_snapshot(material.snapshot, target.code)
    target.inputs.mkdir()
    inputs = [
        (target.train_table, material.images.train.table),
        (target.val_table, material.images.val.table),
        (target.mean, request.lists.mean.data),
        *([(target.initmodel, request.initmodel.data)] if request.initmodel else []),
    ]
    for path, data in inputs:
        share_bytes(path, data, target.root.parent)
    if material.before is not None:
        material.before.copy_to(target)


def beginning(config: RunConfig, warnings: List[str]) -> Optional[Continuation]:
    """The run that this one goes on from, where the config names one."""
    if config.resume is None:
        return None
    from manifests.flows.continuation import read_continuation

    return read_continuation(config.resume, warnings.append)


def code_snapshot(
    host: HostContext, exclude: List[Path], warnings: List[str], limit_mb: int, *, read_only: bool
) -> Snapshot:
    memory = host.cache.root / "imports.json"
    known = load_imports(memory)
    before = len(known)
    snapshot = take_snapshot(host.project, exclude=exclude, known=known, limit_mb=limit_mb)
    warnings += filter(None, [large_text(snapshot.sizes)])
    if not read_only and len(known) != before:
        try:  # it only saves time
            save_imports(memory, known)
        except (OSError, Trouble) as error:
            why = error.strerror if isinstance(error, OSError) else error.problems[0]
            warnings.append(f"what ranks import is not remembered: {memory}: {why}")
    return snapshot


def fingerprints(
    config: RunConfig, lists: Lists, recipe: Recipe, host: HostContext, *, read_only: bool
) -> Fingerprints:
    """The digests of both sets' images: of the files, or with `custom` as they were when packed."""
    if config.loadtype == "custom":
        from manifests.datasets.packed_images import Packs, decoder_of

        packs = Packs(config.train_pack, config.val_pack)
        return read_packs(lists, packs, decoder=decoder_of(recipe))
    return read_images(
        lists,
        train_root=config.train_root,
        val_root=config.val_root,
        cache_folder=host.fingerprints(read_only=read_only),
        progress=host.progress,
    )
