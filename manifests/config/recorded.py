"""The keys of a config as a run's manifest records them, and keys replaced in its identity."""

from __future__ import annotations

import json
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from manifests.record.schema import Identity, Manifest

#: Where the identity's ``training`` has a key's value.
TRAINING: Dict[str, Tuple[str, ...]] = {
    "arch": ("arch",),
    "nclasses": ("nclasses",),
    "insize": ("insize",),
    "epoch": ("epochs",),
    "batchsize": ("batchsize",),
    "val_batchsize": ("val_batchsize",),
    "seed": ("seed",),
    "precision": ("precision",),
    "communicator": ("communicator",),
    "optimizer": ("optimizer", "name"),
    "lr": ("optimizer", "lr"),
    "lr_batch": ("optimizer", "lr_batch"),
    "momentum": ("optimizer", "momentum"),
    "weight_decay": ("optimizer", "weight_decay"),
    "lr_decay_factor": ("optimizer", "lr_decay_factor"),
    "lr_decay_epochs": ("optimizer", "lr_decay_epochs"),
    "warmup_epochs": ("optimizer", "warmup_epochs"),
}

#: The keys of ``circumstance`` that describe how a run works; none of them decides a bit.
METADATA: Dict[str, Tuple[str, str]] = {
    "loadtype": ("loading", "loadtype"),
    "iterator": ("loading", "iterator"),
    "loaderjob": ("loading", "loaderjob"),
    "test": ("observing", "test"),
    "trail_interval": ("observing", "trail_interval"),
    "checkpoint_minutes": ("checkpointing", "minutes"),
    "checkpoint_interval": ("checkpointing", "interval"),
    "checkpoints_kept": ("checkpointing", "kept"),
    "checkpoint_archive": ("checkpointing", "archive"),
}

#: Number of ranks and nodes.
WORLD = ("nnodes", "ranks_per_node")


def recorded_keys(manifest: Manifest) -> Dict[str, Any]:
    """Key -> value, as plain JSON, of everything that the manifest records of its config except for
    paths and placement."""
    identity, circumstance = manifest.identity, manifest.circumstance
    training = identity.training.model_dump(mode="json")
    world = identity.world
    return {
        **{key: _at(training, path) for key, path in TRAINING.items()},
        **{
            key: circumstance.model_dump(mode="json", include={part: {field}})[part][field]
            for key, (part, field) in METADATA.items()
        },
        "stack": identity.image.stack,
        "nnodes": world.nodes,
        "ranks_per_node": world.ranks // world.nodes,
    }


def _at(values: Mapping[str, Any], path: Sequence[str]) -> Any:
    found: Any = values
    for part in path:
        found = found[part]
    return found


def absent_settings(identity: Identity, keys: Sequence[str]) -> List[str]:
    """Those of ``keys`` that the identity, as it stands in its file, has no field for: it is of a
    version before them, and so is the trainer that reads it."""
    training = identity.model_dump(mode="json")["training"]
    absent = []
    for key in keys:
        *folders, name = TRAINING.get(key, ("",))
        if name and name not in _at(training, folders):
            absent.append(key)
    return absent


def with_training(identity: Identity, values: Mapping[str, Any]) -> Dict[str, Any]:
    """The identity's ``training``, as it stands in its file, with ``values`` (key -> value)."""
    training: Dict[str, Any] = identity.model_dump(mode="json")["training"]
    for key, value in values.items():
        *folders, name = TRAINING[key]
        _at(training, folders)[name] = value
    return training


def with_identity(manifest: Manifest, **parts: Optional[Any]) -> Manifest:
    """``manifest`` with plain values for parts of its identity; what is not named stays as it was
    written, and the digest is that of the new identity."""
    values = {**manifest.identity.model_dump(mode="json"), **parts}
    identity = Identity.model_validate_json(json.dumps(values, allow_nan=False))
    return manifest.model_copy(update={"identity": identity, "identity_digest": identity.digest()})
