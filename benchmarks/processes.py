"""Fewer processes than ranks: time, processor time and memory of a step, beside one process for
each rank. Every number of processes gives the same bits (docs/processes.md).

python -m benchmarks.processes [ARCH]
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, List

from benchmarks.rounds import machine, say, table
from jobtemplates.one_host import mpirun_here
from manifests.config.determinism import determinism_for

RANKS = 4
BATCH = 8
STEPS = 3
COMMUNICATOR = "ordered"
SHARED_MEMORY = {"pml": "ob1", "btl": "self,vader"}
PROJECT = Path(__file__).resolve().parents[1]


def main(arch: str) -> None:
    """Start each number of processes by mpirun, one after another, and print the table."""
    where = machine()
    found = {processes: measured(arch, processes) for processes in (RANKS, 2, 1)}
    native = found[RANKS]
    rows = [
        [
            f"{processes}",
            f"{one['seconds']:.2f} s",
            f"{one['seconds'] / native['seconds']:.2f}",
            f"{one['cpu_seconds']:.1f} s",
            f"{one['megabytes']:.0f} MB",
            f"{processes * one['megabytes']:.0f} MB",
        ]
        for processes, one in found.items()
    ]
    print(
        f"{arch}, {RANKS} ranks, {COMMUNICATOR} ({where}; "
        f"{native['gradients']:.0f} MB of gradients, "
        f"{BATCH} images a rank, medians of {STEPS} steps)\n"
    )
    heads = ["processes", "step", "of 4 processes'", "CPU", "peak memory of a process", "of all"]
    print(table(heads, rows))


def measured(arch: str, processes: int) -> Dict[str, float]:
    """Of a step on so many processes: ``seconds``, ``cpu_seconds`` of all, peak ``megabytes`` of
    the greatest process, and the size of its ``gradients`` in MB."""
    say(f"{arch}, {RANKS} ranks on {processes} processes")
    mca = {**determinism_for("cpu").mca, **SHARED_MEMORY}
    launcher = mpirun_here(processes, mca, as_root=os.geteuid() == 0)
    words = [sys.executable, "-W", "ignore", "-m", "benchmarks.processes", arch, "--in-mpi"]
    done = subprocess.run(
        [*launcher, *words], cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=True
    )
    return dict(json.loads(done.stdout))


def steps_in_mpi(arch: str) -> None:
    """This process's ranks compute steps; the first process prints what they took."""
    import chainer
    import numpy as np

    from manifests.record import schema
    from manifests.record.keys import INPUT_SIDE
    from trainer.communicators import make_reduction
    from trainer.data import TrainingBatch
    from trainer.initial import set_initial
    from trainer.loop import gradients
    from trainer.models import MODELS
    from trainer.optimizers import OPTIMIZERS
    from trainer.order import StreamPosition
    from trainer.ranks import join
    from trainer.statistics import RankStatistics

    ranks = join(RANKS, int(os.environ["OMPI_COMM_WORLD_SIZE"]))
    chainer.global_config.dtype = np.dtype(np.float32)
    chainer.global_config.use_ideep = "never"
    model = MODELS[arch](1000)
    set_initial(model, 0, model.initial_limit)
    settings = schema.Optimizer(name="momentum_sgd", lr=0.01)
    optimizer = OPTIMIZERS[settings.name](model, settings)
    statistics = RankStatistics(model, ranks)
    reduction = make_reduction(COMMUNICATOR, ranks, 1)
    side = INPUT_SIDE[arch][1]
    batches: Dict[int, Any] = {}
    for rank in ranks.hosted:
        images = np.random.Generator(np.random.Philox(rank)).standard_normal(
            (BATCH, 3, side, side), np.float32
        )
        slots = [StreamPosition(rank * BATCH + k, 0) for k in range(BATCH)]
        batches[rank] = TrainingBatch(images, np.arange(BATCH, dtype=np.int32), slots)
    taken: List[float] = []
    spent: List[float] = []
    for number in range(STEPS + 1):
        ranks.mpi.Barrier()
        begun, before = time.perf_counter(), time.process_time()
        for rank in ranks.hosted:
            with statistics.of(rank):
                gradients(model, batches[rank], 0)
            reduction.add(model)
        reduction.finish(model)
        optimizer.update(0.0, 0.0, 1)
        own = time.process_time() - before
        ranks.mpi.Barrier()
        if number:
            taken.append(time.perf_counter() - begun)
            spent.append(sum(ranks.gather(own)))
    peak = max(ranks.gather(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)) * 1024 / 1e6
    if ranks.process == 0:
        size = sum(parameter.array.nbytes for parameter in model.params()) / 1e6
        print(
            json.dumps(
                {
                    "seconds": sorted(taken)[STEPS // 2],
                    "cpu_seconds": sorted(spent)[STEPS // 2],
                    "megabytes": peak,
                    "gradients": size,
                }
            )
        )


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if word != "--in-mpi"]
    arch = words[0] if words else "resnet50"
    (steps_in_mpi if "--in-mpi" in sys.argv else main)(arch)
