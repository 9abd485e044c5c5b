"""Swapped: an old run with parts of today in their places, as far as it costs nothing to know"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional

from container import atomic
from container.image import Image
from container.recipe import Recipe, load_recipe
from container.trouble import Trouble
from container.yaml_text import load_yaml
from manifests.config.combinations import check_combinations
from manifests.config.config_file import ALIASES, known_keys, parse_config
from manifests.config.determinism import KNOBS, determinism_for, promises_for
from manifests.config.recorded import (
    METADATA,
    TRAINING,
    WORLD,
    absent_settings,
    recorded_keys,
    with_identity,
    with_training,
)
from manifests.config.run_config import RunConfig, expanded, observing, training
from manifests.config.run_config import checkpointing as checkpointing_of
from manifests.config.run_config import loading as loading_of
from manifests.datasets.initmodel import InitModel
from manifests.datasets.inputs import Fingerprints, Lists
from manifests.flows.material import code_snapshot, fingerprints
from manifests.flows.moved_path import path_moved
from manifests.flows.preflight import built_image, image_identity
from manifests.flows.request import initmodel_of, read_inputs
from manifests.flows.swap import DATA_KEYS, NEXT_STEP, Swap
from manifests.host.context import HostContext
from manifests.host.image_source import build_recipe
from manifests.record import schema
from manifests.record.run_files import RunFiles
from manifests.record.version import SCHEMA_VERSION
from manifests.rundir.shared_inputs import share_folder
from manifests.rundir.snapshot import Snapshot, copy_recorded, copy_snapshot

#: Data keys that a config file of a run gives; the roots are in its manifest.
_LISTED = ("train", "val", "mean.npy", "train_pack", "val_pack")


@dataclass(frozen=True)
class Swapped:
    """``manifest`` is that of the old run with the swapped code and keys; image and data follow.

    ``recorded`` is the old one. What is None or empty is not swapped.
    """

    swap: Swap
    recorded: schema.Manifest
    manifest: schema.Manifest
    config: Optional[RunConfig] = None
    snapshot: Optional[Snapshot] = None
    recipe: Optional[Recipe] = None
    lists: Optional[Lists] = None
    images: Optional[Fingerprints] = None
    initmodel: Optional[InitModel] = None
    warnings: List[str] = field(default_factory=list)

    def with_images(self, host: HostContext, recipe: Recipe, *, read_only: bool) -> Swapped:
        """With the data of today fingerprinted. Raises Trouble for images that cannot be used."""
        if self.lists is None or self.config is None:
            return self
        images = fingerprints(self.config, self.lists, recipe, host, read_only=read_only)
        data = {
            **self.manifest.identity.model_dump(mode="json")["data"],
            "train": images.train.identity.model_dump(mode="json"),
            "val": images.val.identity.model_dump(mode="json"),
            "mean": self.lists.mean.identity.model_dump(mode="json"),
        }
        return replace(
            self,
            manifest=with_identity(self.manifest, data=data),
            images=images,
            warnings=[*self.warnings, *images.warnings],
        )

    def with_image(self, image: Image) -> Swapped:
        identity = image_identity(image).model_dump(mode="json")
        return replace(self, manifest=with_identity(self.manifest, image=identity))

    def image(self, host: HostContext, mirror: Optional[str], *, may_build: bool) -> Image:
        """The image of today, built where it is not there. Raises Trouble."""
        assert self.recipe is not None
        if may_build:
            return build_recipe(self.recipe, host, mirror)
        return built_image(self.recipe, host)

    def fill(self, old: RunFiles, target: RunFiles) -> None:
        """Write config, code and inputs into the new run directory ``target``."""
        shutil.copyfile(old.config, target.config)
        if self.snapshot is not None:
            copy_snapshot(self.snapshot, target.code)
        else:
            copy_recorded(old.code, target.code, self.recorded)
        share_folder(old.inputs, target.inputs)
        if self.images is not None and self.lists is not None:
            atomic.write_bytes(target.train_table, self.images.train.table)
            atomic.write_bytes(target.val_table, self.images.val.table)
            atomic.write_bytes(target.mean, self.lists.mean.data)
        if "initmodel" in self.swap.keys:
            target.initmodel.unlink(missing_ok=True)
            if self.initmodel is not None:
                atomic.write_bytes(target.initmodel, self.initmodel.data)


def swap_in(
    swap: Swap,
    old: RunFiles,
    recorded: schema.Manifest,
    circumstance: schema.Circumstance,
    moved: Mapping[str, str],
    host: HostContext,
    *,
    read_only: bool,
) -> Swapped:
    """Take code, keys, lists and recipe of today. ``circumstance`` is the recorded one with the
    data where it is now; ``moved`` says how it moved.

    Raises Trouble for keys, lists or code that cannot be part of the run.
    """
    warnings: List[str] = []
    manifest = recorded.model_copy(update={"circumstance": circumstance})
    if not swap.texts:
        return Swapped(swap, recorded, manifest)
    snapshot = None
    if swap.has("code"):
        snapshot = _code(swap, manifest, host, warnings, read_only)
        manifest = _with_code(manifest, snapshot)
    config = _config(swap, old, manifest, moved, host)
    manifest = _with_keys(swap, manifest, config, code=snapshot is not None)
    lists = read_inputs(config) if swap.has("data") else None
    _refuse_combinations(config, manifest, lists)
    recipe = None
    if swap.has("image"):
        recipe = load_recipe(swap.places.get("image", host.project), config.stack)
        manifest = _with_recipe(manifest, recipe)
    initmodel = None
    if "initmodel" in swap.keys:
        initmodel = initmodel_of(config)
        data = manifest.identity.model_dump(mode="json")["data"]
        data["initmodel"] = initmodel.sha256 if initmodel else None
        manifest = with_identity(manifest, data=data)
    warnings += [
        *(lists.warnings if lists else []),
        *([initmodel.note] if initmodel and initmodel.few else []),
    ]
    return Swapped(
        swap, recorded, manifest, config, snapshot, recipe, lists, None, initmodel, warnings
    )


def _code(
    swap: Swap,
    manifest: schema.Manifest,
    host: HostContext,
    warnings: List[str],
    read_only: bool,
) -> Snapshot:
    paths = manifest.circumstance.paths
    named = [paths.out, paths.train_root, paths.val_root, paths.train_pack, paths.val_pack]
    limit: int = RunConfig.model_fields["snapshot_limit"].default
    return code_snapshot(
        replace(host, project=swap.places["code"]),
        [Path(path) for path in named if path],
        warnings,
        limit,
        read_only=read_only,
    )


def _with_code(manifest: schema.Manifest, snapshot: Snapshot) -> schema.Manifest:
    """The settings that choose algorithms belong to the code that sets and checks them."""
    stack = manifest.identity.image.stack
    determinism = {}
    if stack in KNOBS:
        determinism["determinism"] = determinism_for(stack).model_dump(mode="json")
    changed = with_identity(manifest, code=snapshot.identity.model_dump(mode="json"), **determinism)
    circumstance = changed.circumstance.model_copy(
        update={
            "git": snapshot.git,
            "bundleignore": snapshot.bundleignore,
            "other_code": snapshot.other,
        }
    )
    return changed.model_copy(update={"version": SCHEMA_VERSION, "circumstance": circumstance})


def _config(
    swap: Swap,
    old: RunFiles,
    manifest: schema.Manifest,
    moved: Mapping[str, str],
    host: HostContext,
) -> RunConfig:
    """The run's keys as its manifest records them, with the swapped ones, checked as a config."""
    paths = manifest.circumstance.paths
    values = {**_without_defaults(recorded_keys(manifest)), "out": paths.out}
    values["share_gpus"] = manifest.circumstance.placement.share_gpus
    custom = {**values, **swap.keys}.get("loadtype") == "custom"
    if swap.has("data") or custom:
        values.update(_listed(swap, old, manifest, moved, host))
    else:
        values.update({"train": "/", "val": "/", "mean.npy": "/"})  # not read
    values.update({"train_root": paths.train_root, "val_root": paths.val_root, **swap.keys})
    if not custom:
        values = {key: value for key, value in values.items() if not key.endswith("_pack")}
    given = {key: value for key, value in values.items() if value is not None}
    try:
        return parse_config(given, "--with", home=host.home)
    except Trouble as trouble:
        problems = [text.replace("--with: ", "--with ", 1) for text in trouble.problems]
        raise Trouble(problems, NEXT_STEP) from trouble


def _without_defaults(values: Mapping[str, Any]) -> Dict[str, Any]:
    """A default that is written out would count as a wish: `momentum`, where adam has none."""
    fields = known_keys()
    return {key: value for key, value in values.items() if value != fields[key].default}


def _listed(
    swap: Swap,
    old: RunFiles,
    manifest: schema.Manifest,
    moved: Mapping[str, str],
    host: HostContext,
) -> Dict[str, str]:
    """Where lists, mean image and packed files are now, by the run's config. Those that are swapped
    are not looked for."""
    config, packed = manifest.circumstance.paths.config, manifest.circumstance.paths
    found = {
        key: place
        for key, place in (("train_pack", packed.train_pack), ("val_pack", packed.val_pack))
        if place is not None
    }
    wanted = [key for key in _LISTED if key not in swap.keys and key not in found]
    raw = load_yaml(old.config)
    if not isinstance(raw, dict):
        raise Trouble(
            f"{old.config}: is not a mapping of keys", "restore it from a copy of the run"
        )
    folder = Path(config).parent if config else None
    values = {ALIASES.get(key, key): value for key, value in raw.items()}
    for key in wanted:
        value = values.get(key)
        if isinstance(value, str):
            path = expanded(value, host.home)
            if folder is None and not path.is_absolute():
                raise Trouble(
                    f"--with data: {key}: {value} is relative, and {old.manifest} does not say "
                    "where the config was",
                    f"name it: --with {key}=PATH",
                )
            found[key] = path_moved(str((folder or Path("/")) / path), moved)[0]
    return found


def listed_paths(
    swap: Swap, old: RunFiles, recorded: schema.Manifest, host: HostContext
) -> List[str]:
    """Where the lists of swapped data were, for ``--data OLD=NEW``."""
    if not swap.has("data"):
        return []
    return list(_listed(swap, old, recorded, {}, host).values())


def _with_keys(
    swap: Swap, manifest: schema.Manifest, config: RunConfig, *, code: bool
) -> schema.Manifest:
    unknown = [] if code else absent_settings(manifest.identity, list(swap.keys))
    if unknown:
        raise Trouble(
            [
                f"--with {key}: the trainer in the run's snapshot is from before that key"
                for key in unknown
            ],
            "swap the code too: --with code",
        )
    of_today = training(config).model_dump(mode="json")
    values = {}
    for key in TRAINING.keys() & swap.keys.keys():
        found: Any = of_today
        for part in TRAINING[key]:
            found = found[part]
        values[key] = found
    parts: Dict[str, Any] = {"training": with_training(manifest.identity, values)} if values else {}
    if set(WORLD) & swap.keys.keys():
        per_node = config.ranks_per_node or 1
        parts["world"] = {"ranks": per_node * config.nnodes, "nodes": config.nnodes}
    changed = with_identity(manifest, **parts) if parts else manifest
    return changed.model_copy(update={"circumstance": _circumstance(swap, manifest, config)})


def _circumstance(swap: Swap, manifest: schema.Manifest, config: RunConfig) -> schema.Circumstance:
    circumstance = manifest.circumstance
    today = {
        "loading": loading_of(config),
        "observing": observing(config),
        "checkpointing": checkpointing_of(config),
    }
    update: Dict[str, Any] = {}
    for key in METADATA.keys() & swap.keys.keys():
        part, name = METADATA[key]
        before = update.get(part, getattr(circumstance, part))
        update[part] = before.model_copy(update={name: getattr(today[part], name)})
    if DATA_KEYS & swap.keys.keys() or swap.has("data") or "loadtype" in swap.keys:
        custom = config.loadtype == "custom"
        update["paths"] = circumstance.paths.model_copy(
            update={
                "train_root": str(config.train_root),
                "val_root": str(config.val_root),
                "train_pack": str(config.train_pack) if custom else None,
                "val_pack": str(config.val_pack) if custom else None,
            }
        )
    return circumstance.model_copy(update=update)


def _with_recipe(manifest: schema.Manifest, recipe: Recipe) -> schema.Manifest:
    """Another stack has other settings and promises; GPUs of the run stay promised."""
    kept = schema.Recipe(stack=recipe.stack, files=dict(recipe.files))
    promises = promises_for(recipe.stack)
    if promises.gpu is not None and manifest.promises.gpu is not None:
        classes = manifest.promises.gpu.classes
        gpu = promises.gpu.model_copy(update={"classes": classes})
        promises = promises.model_copy(update={"gpu": gpu})
    changed = manifest.model_copy(update={"recipe": kept, "promises": promises})
    if recipe.stack == manifest.identity.image.stack:
        return changed
    settings = determinism_for(recipe.stack).model_dump(mode="json")
    return with_identity(changed, determinism=settings)


def _refuse_combinations(
    config: RunConfig, manifest: schema.Manifest, lists: Optional[Lists]
) -> None:
    data = manifest.identity.data
    problems = check_combinations(
        config,
        limits=[],
        ranks=manifest.identity.world.ranks,
        train_samples=len(lists.train.paths) if lists else data.train.samples,
        val_samples=len(lists.val.paths) if lists else data.val.samples,
    )
    if problems:
        raise Trouble(
            [f"--with {problem}" for problem in problems],
            "swap these keys too, or none of them; what is not swapped is as the run has it",
        )
