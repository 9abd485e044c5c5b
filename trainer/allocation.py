"""What every rank sees of its allocation; run by `bundle.py doctor --job` instead of training.

Rank 0 writes it into ``result.json``: one object per rank, read by ``manifests.doctor.allocation``.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any, Dict, Optional

import numpy as np

from manifests.record.schema import RUN_MOUNT, TRAIN_MOUNT, Manifest, RunFiles
from trainer import machine
from trainer.files import json_bytes, write_whole
from trainer.gpu import facts as gpu_facts
from trainer.guard import guarded
from trainer.ranks import Ranks

#: float32 elements; more than Open MPI sends at once, so that all its ways of sending are taken.
LENGTH = 1 << 18


def main() -> None:
    """Of a rank that looks: one that fails ends the others."""
    guarded(look)


def look() -> int:
    from mpi4py import MPI

    MPI.Init()
    everyone = Ranks(MPI.COMM_WORLD)
    files = RunFiles(Path(RUN_MOUNT))
    manifest = Manifest.model_validate_json(files.manifest.read_bytes())
    image = Path(TRAIN_MOUNT) / Path(manifest.circumstance.paths.image).name
    local = int(MPI.COMM_WORLD.Split_type(MPI.COMM_TYPE_SHARED).Get_rank())
    seen = {
        "rank": everyone.rank,
        "local_rank": local,
        "host": machine.host_name(),
        "cores": sorted(os.sched_getaffinity(0)),
        "features": sorted(machine.this_cpu().features),
        **(no_gpus() if manifest.promises.gpu is None else gpus(everyone.rank)),
        "scratch": tempfile.gettempdir(),
        "scratch_problem": scratch_problem(),
        "image_sha256": sha256_of(image) if local == 0 else None,
        "allreduce": sums_are_right(everyone),
    }
    ranks = everyone.gather(seen)
    if everyone.rank == 0:
        write_whole(files.result, json_bytes({"ranks": ranks}))
    return 0


def no_gpus() -> Dict[str, Any]:
    return {"gpus": [], "driver": ""}


def gpus(rank: int) -> Dict[str, Any]:
    """All that CUDA shows this rank, as records of manifests.record.outcome.RankGpu."""
    import cupy

    seen = [
        gpu_facts.gpu_of_rank(cupy, device, rank, machine.host_name())
        for device in range(gpu_facts.visible_gpus(cupy))
    ]
    told = [gpu.model_dump(mode="json") for gpu in seen]
    return {"gpus": told, "driver": gpu_facts.driver_version()}


def scratch_problem() -> str:
    """Why no file can be written below TMPDIR; empty when one can."""
    try:
        with tempfile.TemporaryFile(dir=os.environ.get("TMPDIR", "/tmp")) as stream:
            stream.write(b"x")
            stream.flush()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def sha256_of(path: Path) -> Optional[str]:
    """None where this node cannot read the file."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return None


def sums_are_right(everyone: Any) -> bool:
    """MPI_Allreduce of whole numbers, which float32 adds without an error."""
    from mpi4py import MPI

    buffer = np.full(LENGTH, everyone.rank + 1, dtype=np.float32)
    everyone.mpi.Allreduce(MPI.IN_PLACE, buffer, op=MPI.SUM)
    return bool((buffer == everyone.size * (everyone.size + 1) // 2).all())
