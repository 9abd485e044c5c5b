"""One, two or four ranks: what averaging the gradients costs with each communicator, beside a plain
MPI_Allreduce of the same buffer by mpi4py, and how much faster more ranks are than one.

mpirun -np RANKS python -m benchmarks.ranks [ARCH]
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from functools import partial
from typing import Any, Callable, Dict, List

import chainer
import mpi4py
import numpy as np

mpi4py.rc.initialize = False

from benchmarks.rounds import machine, say, table  # noqa: E402
from manifests.record import schema  # noqa: E402
from manifests.record.keys import INPUT_SIDE  # noqa: E402
from trainer.communicators import COMMUNICATORS  # noqa: E402
from trainer.data import TrainingBatch  # noqa: E402
from trainer.initial import set_initial  # noqa: E402
from trainer.loop import gradients  # noqa: E402
from trainer.models import MODELS  # noqa: E402
from trainer.optimizers import OPTIMIZERS  # noqa: E402
from trainer.order import StreamPosition  # noqa: E402
from trainer.ranks import join  # noqa: E402

BATCH = 8
ROUNDS = 5
SETTINGS = schema.Optimizer(name="momentum_sgd", lr=0.01)
PEER = "mpi4py Allreduce"


def main(arch: str) -> None:
    where = machine()
    ranks = int(os.environ["OMPI_COMM_WORLD_SIZE"])
    world = join(ranks)
    from mpi4py import MPI

    chainer.global_config.dtype = np.dtype(np.float32)
    chainer.global_config.use_ideep = "never"
    model = MODELS[arch](1000)
    set_initial(model, 0, model.initial_limit)
    optimizer = OPTIMIZERS[SETTINGS.name](model, SETTINGS)
    side = INPUT_SIDE[arch][1]
    generator = np.random.Generator(np.random.Philox(world.rank))
    images = generator.standard_normal((BATCH, 3, side, side), np.float32)
    labels = np.arange(BATCH, dtype=np.int32)
    batch = TrainingBatch(images, labels, [StreamPosition(k, 0) for k in range(BATCH)])
    gradients(model, batch, 0)
    buffer = np.concatenate([parameter.grad.ravel() for parameter in model.params()])

    names = [name for name in COMMUNICATORS if name != "pure_nccl"]
    ours = {name: COMMUNICATORS[name](world.mpi, 1) for name in names}
    contestants: Dict[str, Callable[[], Any]] = {
        PEER: lambda: world.mpi.Allreduce(MPI.IN_PLACE, [buffer, MPI.FLOAT], op=MPI.SUM)
    }
    for name, communicator in ours.items():
        contestants[name] = partial(communicator.average_gradients, model)

    def step() -> None:
        gradients(model, batch, 0)
        ours["flat"].average_gradients(model)
        optimizer.update(0.0, 0.0, 1)

    contestants["step"] = step
    times: Dict[str, List[float]] = {name: [] for name in contestants}
    for number in range(-1, ROUNDS):
        for name, contestant in contestants.items():
            if world.rank == 0:
                say(f"{arch}, {ranks} ranks: {name}, round {number + 1} of {ROUNDS}")
            world.mpi.Barrier()
            begun = time.perf_counter()
            contestant()
            world.mpi.Barrier()
            if number >= 0:
                times[name].append(time.perf_counter() - begun)
    if world.rank:
        return
    middle = {name: statistics.median(found) for name, found in times.items()}
    megabytes = buffer.nbytes / 1e6
    print(
        f"{arch}, {ranks} rank(s) ({where}; {megabytes:.0f} MB of gradients, "
        f"{BATCH} images a rank, medians of {ROUNDS} turns): "
        f"{ranks * BATCH / middle['step']:.2f} images/s, "
        f"{middle['step']:.3f} s a step\n"
    )
    if ranks == 1:
        return  # nothing is summed
    rows = [
        [name, f"{1e3 * middle[name]:.1f} ms", f"{middle[name] / middle[PEER]:.2f}"]
        for name in [PEER, *names]
    ]
    print(table(["reduction", "time", "of the plain Allreduce"], rows))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "resnet50")
