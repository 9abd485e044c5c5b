"""A whole Manifest made by hand, for tests that need one and not the flow that makes it."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import cache
from typing import Any, Tuple

from manifests.record.run_files import RunFiles
from manifests.record.schema import Identity, Manifest
from manifests.rundir.outline import outline_of

IMAGE_SHA = "1" * 64


def identity_values() -> dict[str, Any]:
    return {
        "training": {
            "arch": "nin",
            "nclasses": 8,
            "insize": 67,
            "epochs": 1,
            "batchsize": 4,
            "val_batchsize": 4,
            "optimizer": {"name": "momentum_sgd", "lr": 0.01},
            "communicator": "naive",
            "precision": "float32",
            "seed": 0,
        },
        "code": {"digest": "2" * 64, "files": {}},
        "image": {
            "stack": "cpu",
            "sha256": IMAGE_SHA,
            "size": 3,
            "lock_sha256": "3" * 64,
            "recipe_sha256": "4" * 64,
        },
        "data": {
            "train": {"sha256": "5" * 64, "samples": 8},
            "val": {"sha256": "6" * 64, "samples": 8},
            "mean": {"sha256": "7" * 64, "shape": [3, 256, 256], "dtype": "float32"},
        },
        "world": {"ranks": 2, "nodes": 1},
        "determinism": {
            "environment": {"OPENBLAS_NUM_THREADS": "1"},
            "mca": {"coll_tuned_use_dynamic_rules": "1"},
        },
    }


def manifest_values(**changes: Any) -> dict[str, Any]:
    """Plain values of a valid manifest; ``changes`` replace circumstance.paths' entries."""
    identity = identity_values()
    return {
        "identity_digest": Identity.model_validate(identity).digest(),
        "identity": identity,
        "circumstance": {
            "created": "2026-01-02T03:04:05Z",
            "host": "login1",
            "user": "ada",
            "tool_version": "0.1.0",
            "paths": {
                "config": "/home/ada/config.yaml",
                "image": "/images/cpu.sif",
                "train_root": "/data/train",
                "val_root": "/data/val",
                "out": "/out",
                **changes,
            },
            "placement": {"site": "local", "jobname": "digits"},
            "loading": {},
            "observing": {},
        },
        "promises": {"cpu_features": ["avx2"]},
        "recipe": {"stack": "cpu", "files": {}},
    }


def manifest(**changes: Any) -> Manifest:
    return Manifest.model_validate(manifest_values(**changes))


@cache
def _texts() -> Tuple[str, str]:
    made = manifest()
    return made.model_dump_json(), json.dumps(asdict(outline_of(made)))


def write_manifest(files: RunFiles) -> None:
    """A manifest and its outline, as `list` and `status` want them."""
    for path, text in zip((files.manifest, files.outline), _texts()):
        path.write_text(text)
