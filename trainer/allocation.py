"""What every rank sees of its allocation; run by `bundle.py doctor --job` instead of training.

Rank 0 writes one object per rank, which ``manifests.doctor.allocation`` reads.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any, Dict, Optional

from manifests.record.mounts import RUN_MOUNT
from manifests.record.run_files import RunFiles
from trainer import failure, machine, ranks
from trainer.files import json_bytes, write_whole
from trainer.gpu import facts as gpu_facts
from trainer.guard import guarded
from trainer.messages import wrong_messages
from trainer.ranks import Ranks
from trainer.transport import transport


def main() -> int:
    """Of a rank that looks: one that fails says why and ends the others."""
    files = RunFiles(Path(RUN_MOUNT))
    try:
        look(files)
    except Exception as error:
        code = failure.report(error, ranks.rank_now(os.environ), files)
        ranks.abort(code)
        return code
    return 0


def look(files: RunFiles) -> None:
    parser = argparse.ArgumentParser(prog="python3 -m trainer.allocation", description=__doc__)
    parser.add_argument("--image", type=Path, required=True, help="the image, as bound inside")
    parser.add_argument("--gpus", action="store_true", help="the stack needs GPUs")
    given = parser.parse_args()
    from mpi4py import MPI

    MPI.Init()
    everyone = Ranks(MPI.COMM_WORLD)
    local = int(MPI.COMM_WORLD.Split_type(MPI.COMM_TYPE_SHARED).Get_rank())
    seen = {
        "rank": everyone.rank,
        "local_rank": local,
        "host": machine.host_name(),
        "cores": sorted(os.sched_getaffinity(0)),
        "features": sorted(machine.this_cpu().features),
        **(gpus(everyone.rank) if given.gpus else no_gpus()),
        "scratch": os.environ.get("BUNDLE_TMPDIR") or tempfile.gettempdir(),
        "scratch_problem": scratch_problem(),
        "scratch_warning": os.environ.get("BUNDLE_TMPDIR_WARNING", ""),
        "image_sha256": sha256_of(given.image) if local == 0 else None,
        "transport": transport(),
        "wrong_messages": wrong_messages(everyone),
    }
    found = everyone.gather(seen)
    if everyone.rank == 0:
        write_whole(files.allocation, json_bytes({"ranks": found}))


def no_gpus() -> Dict[str, Any]:
    return {"gpus": [], "driver": ""}


def gpus(rank: int) -> Dict[str, Any]:
    """All that CUDA shows this rank, as records of manifests.record.outcome.RankGpu."""
    import cupy

    seen = [
        gpu_facts.gpu_of_rank(cupy, device, rank, machine.host_name())
        for device in range(gpu_facts.visible_gpus(cupy))
    ]
    records = [gpu.model_dump(mode="json") for gpu in seen]
    return {"gpus": records, "driver": gpu_facts.driver_version()}


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


if __name__ == "__main__":
    guarded(main)
