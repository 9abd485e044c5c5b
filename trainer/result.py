"""``result.json``: digests, metrics, and what the run saw of its machine."""

from __future__ import annotations

import hashlib
import os
from datetime import datetime, timezone
from typing import List, Mapping, Optional, Sequence

from manifests.record.canonical_json import digest_of
from manifests.record.json_numbers import not_finite
from manifests.record.outcome import (
    Observed,
    RankPlace,
    Result,
    ResultDigests,
    SeenGpus,
)
from manifests.record.run_files import RunFiles
from manifests.record.schema import Manifest
from manifests.record.states import (
    end_digest,
    stretch_digests,
    stretches,
    trail_of_stretches,
    tree_root,
)
from trainer import machine
from trainer.ranks import Ranks


def utc(moment: float) -> str:
    """Seconds since 1970 -> ISO 8601 with a Z."""
    return datetime.fromtimestamp(moment, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def places(ranks: Ranks, local_rank: int) -> List[RankPlace]:
    """Where each rank was computed, by rank; ``local_rank`` is that of its process."""
    found = ranks.by_rank([(machine.host_name(), local_rank)] * len(ranks.hosted))
    return [
        RankPlace(rank=rank, host=host, local_rank=local)
        for rank, (host, local) in enumerate(found)
    ]


def trail_digest(ranks: Ranks, files: RunFiles) -> Optional[str]:
    """sha256 over all trail files in rank order, on the process of rank 0; None elsewhere.

    Files travel by MPI, because a network file system may show rank 0 an old length.
    """
    if ranks.rank != 0:
        for rank in ranks.hosted:
            ranks.mpi.send(files.trail_of(rank).read_bytes(), dest=0)
        return None
    digest = hashlib.sha256()
    for rank in range(ranks.size):
        process = rank % ranks.processes
        own = process == ranks.process
        digest.update(files.trail_of(rank).read_bytes() if own else ranks.mpi.recv(source=process))
    return digest.hexdigest()


def trail_in_stretches(ranks: Ranks, files: RunFiles, steps: Sequence[int]) -> List[str]:
    """Digests of the trail in the stretches that end with ``steps``, in order. Every process reads
    the trails of its own ranks, and must call this."""
    own = []
    for rank in ranks.hosted:
        with files.trail_of(rank).open("rb") as lines:
            own.append(stretch_digests(lines, steps))
    return trail_of_stretches(ranks.by_rank(own))


def observed(
    manifest: Manifest,
    started: float,
    finished: float,
    ranks: List[RankPlace],
    resumed_at: List[int],
    gpus: Optional[SeenGpus] = None,
    processes: Optional[int] = None,
) -> Observed:
    cpu = machine.this_cpu()
    return Observed(
        started=utc(started),
        finished=utc(finished),
        seconds=finished - started,
        versions=machine.versions(with_gpus=gpus is not None),
        cpu_model=cpu.model,
        cpu_features=sorted(cpu.features),
        environment={key: os.environ[key] for key in manifest.identity.determinism.environment},
        ranks=ranks,
        resumed_at=resumed_at,
        gpus=gpus,
        processes=processes,
    )


def make_result(
    manifest: Manifest,
    steps: int,
    tensors: Mapping[str, str],
    trail: str,
    model: bytes,
    log: bytes,
    metrics: Mapping[str, float],
    seen: Observed,
    kept: Mapping[int, str],
    stretch_trails: Sequence[str],
) -> Result:
    """``kept`` are the states of the steps computed that have a checkpoint, ``stretch_trails`` the
    digests of the trail between them and to the end. A whole run ends on its result, which is none
    of ``kept``; a slice before that ends on one of them, and has no root."""
    ranks, identity = manifest.identity.world.ranks, manifest.identity_digest
    digests = ResultDigests(
        parameters=digest_of(dict(tensors)),
        tensors=dict(tensors),
        trail=trail,
        model=hashlib.sha256(model).hexdigest(),
    )
    states = stretches({steps: end_digest(digests), **kept}, stretch_trails)
    whole = manifest.circumstance.slice is None
    return Result(
        identity_digest=identity,
        steps=steps,
        digests=digests,
        metrics=dict(metrics),
        not_finite=not_finite(metrics),
        log=hashlib.sha256(log).hexdigest(),
        states=states,
        root=tree_root(identity, ranks, steps, states) if whole else None,
        observed=seen,
    )
