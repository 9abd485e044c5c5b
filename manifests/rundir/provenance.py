"""A run as SLSA provenance v1: what came out of which image, code, data and settings (pure)"""

from __future__ import annotations

from typing import Any, Dict, List

from manifests.record.outcome import Result
from manifests.record.schema import Manifest
from manifests.rundir.statement import (
    MANIFEST,
    PROVENANCE,
    TRAINING_RUN,
    descriptor,
    statement,
)

#: The builder that a statement names: whoever signs it vouches for it.
BUILDER = "tag:bundle,2026:bundle"


def provenance_statement(
    name: str, manifest: Manifest, manifest_sha256: str, result: Result, result_sha256: str
) -> Dict[str, Any]:
    """``name`` is that of the run directory; the digests are those of the files' bytes.

    Fields as in https://slsa.dev/spec/v1.0/provenance.
    """
    return statement(
        outputs(manifest_sha256, result, result_sha256),
        PROVENANCE,
        {
            "buildDefinition": {
                "buildType": TRAINING_RUN,
                "externalParameters": _settings(manifest),
                "internalParameters": {
                    "determinism": manifest.identity.determinism.model_dump(mode="json"),
                    "promises": manifest.promises.model_dump(mode="json", exclude_none=True),
                },
                "resolvedDependencies": materials(manifest),
            },
            "runDetails": {
                "builder": {"id": BUILDER, "version": {"bundle": _tool_version(manifest)}},
                "metadata": {
                    "invocationId": name,
                    "startedOn": result.observed.started,
                    "finishedOn": result.observed.finished,
                },
            },
        },
    )


def outputs(manifest_sha256: str, result: Result, result_sha256: str) -> List[Dict[str, Any]]:
    """The subjects: files of the run directory by their names."""
    found = [
        descriptor(MANIFEST, manifest_sha256),
        descriptor("result.json", result_sha256),
        descriptor("results/model.npz", result.digests.model),
    ]
    if result.log is not None:
        found.append(descriptor("results/log.jsonl", result.log))
    return found


def _settings(manifest: Manifest) -> Dict[str, Any]:
    identity = manifest.identity
    return {
        "identity": manifest.identity_digest,
        "training": identity.training.model_dump(mode="json"),
        "world": identity.world.model_dump(mode="json"),
        "kind": manifest.kind,
    }


def materials(manifest: Manifest) -> List[Dict[str, Any]]:
    """What the bits follow from: image, lock, recipe, code, data."""
    identity, git = manifest.identity, manifest.circumstance.git
    image, data = identity.image, identity.data
    code: Dict[str, Any] = descriptor("code", identity.code.digest)
    if git is not None and git.commit is not None:
        code["annotations"] = {"gitCommit": git.commit, "uncommittedChanges": git.dirty}
    found = [
        descriptor("image", image.sha256, annotations={"stack": image.stack, "size": image.size}),
        descriptor(f"container/locks/{image.stack}.json", image.lock_sha256),
        descriptor("recipe", image.recipe_sha256),
        code,
        *(
            descriptor(name, sha256)
            for name, sha256 in sorted(manifest.companions.items())
            if name == "config.yaml"
        ),
        descriptor(
            "inputs/train.tsv", data.train.sha256, annotations={"samples": data.train.samples}
        ),
        descriptor("inputs/val.tsv", data.val.sha256, annotations={"samples": data.val.samples}),
        descriptor("inputs/mean.npy", data.mean.sha256),
    ]
    if data.initmodel is not None:
        found.append(descriptor("inputs/initmodel.npz", data.initmodel))
    return found


def _tool_version(manifest: Manifest) -> str:
    return manifest.circumstance.tool_version
