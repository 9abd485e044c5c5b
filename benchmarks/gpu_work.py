"""Training steps of the trainer, timed: the contestant `bundle` of benchmarks.gpu.

[mpirun -np N] python -m benchmarks.gpu_work CONTEST | python -m benchmarks.gpu_work look
"""

from __future__ import annotations

import sys
from itertools import count
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, Optional

import numpy as np

from benchmarks.gpu_contest import IMAGES, Contest, answer, contest_of, timed
from manifests.record import schema
from manifests.record.keys import INPUT_SIDE
from manifests.record.schema import GpuPromise

NCLASSES = 1000
SETTINGS = schema.Optimizer(name="momentum_sgd", lr=0.001, momentum=0.9, weight_decay=1e-4)


def look() -> Dict[str, Any]:
    """What CUDA shows this process, with versions; or ``problem``, why it shows nothing."""
    try:
        import cupy
    except Exception as error:  # without a fitting library CuPy raises errors of its own kinds
        return {"problem": f"CuPy cannot be imported by {sys.executable}: {error}"}
    from trainer.gpu import facts as gpu_facts
    from trainer.machine import host_name

    gpus = [
        gpu_facts.gpu_of_rank(cupy, device, 0, host_name())
        for device in range(gpu_facts.visible_gpus(cupy))
    ]
    if not gpus:
        return {"problem": f"CUDA shows no GPU on {host_name()}"}
    return {
        "host": host_name(),
        "driver": gpu_facts.driver_version() or "unknown",
        "gpus": [gpu.kind.text for gpu in gpus],
        "versions": versions(),
    }


def versions() -> Dict[str, str]:
    from mpi4py import MPI

    MPI.Init()
    from trainer import machine

    return machine.versions()


def open_pool(contest: Contest) -> Any:
    """Loaders of the packed file; their processes must be there before MPI."""
    from trainer.iterators import ITERATORS
    from trainer.sampleset import SampleSet

    folder, side = Path(contest.folder), INPUT_SIDE[contest.arch][1]
    samples = SampleSet(
        table=folder / "table.tsv",
        root=folder,
        mean=folder / "mean.npy",
        seed=0,
        insize=side,
        paper_side=side,
        pack=folder / "list.pack",
        pack_name="list.pack",
        raw=contest.gpus > 0,
    )
    return ITERATORS["process"]("custom", {"train": samples}, contest.workers)


def open_device(world: Any, contest: Contest) -> Any:
    from trainer.device import CPU, open_gpu

    if contest.gpus == 0:
        return CPU
    import cupy

    from trainer.gpu import facts as gpu_facts

    visible = range(gpu_facts.visible_gpus(cupy))
    kinds = [gpu_facts.gpu_of_rank(cupy, device, 0, "").kind for device in visible]
    # Any GPU will do here, also one that the image has no code for.
    promise = GpuPromise(driver="0", capabilities=[kind.capability for kind in kinds])
    device = open_gpu(world, promise, mixed=contest.precision == "mixed")
    if not contest.deterministic:
        choose_freely()
    return device


def choose_freely() -> None:
    """What Chainer and CuPy do unless they are told otherwise, and algorithms by measurement."""
    import chainer
    from cupy import _core

    chainer.global_config.cudnn_deterministic = False
    chainer.global_config.autotune = True
    _core.set_reduction_accelerators(["cub"])
    _core.set_routine_accelerators(["cub"])


def synthetic(contest: Contest, device: Any) -> Callable[[], Any]:
    """The same images each time, where the network is."""
    from trainer.data import TrainingBatch
    from trainer.order import StreamPosition

    side, generator = INPUT_SIDE[contest.arch][1], np.random.Generator(np.random.Philox(1))
    shape = (contest.batch, 3, side, side)
    images = device.put(generator.uniform(-0.5, 0.5, shape).astype(np.float32))
    labels = device.put(np.arange(contest.batch, dtype=np.int32) % NCLASSES)
    batch = TrainingBatch(images, labels, [StreamPosition(k, 0) for k in range(contest.batch)])
    return lambda: batch


def packed(contest: Contest, device: Any, pool: Any, rank: int) -> Callable[[], Any]:
    """Batches by the loaders and the feed of a run, in the order of the file."""
    from trainer.data import TrainingBatch
    from trainer.order import StreamPosition
    from trainer.prefetch import make_prefetcher
    from trainer.sampleset import Part

    def work() -> Iterator[Part]:
        for step in count():
            first = (step * contest.ranks + rank) * contest.batch
            places = range(first, first + contest.batch)
            indices = tuple(place % IMAGES for place in places)
            yield Part("train", indices, tuple(place // IMAGES for place in places))

    def labels_of(part: Part) -> Any:
        return np.array(part.indices, np.int32) % NCLASSES

    batches = make_prefetcher(pool, device.gpu).batches(work(), labels_of)

    def following() -> TrainingBatch:
        part, images, labels = next(batches)
        return TrainingBatch(
            images,
            labels,
            [StreamPosition(*place) for place in zip(part.indices, part.epochs or ())],
        )

    return following


def prepare(contest: Contest, world: Any, device: Any, batch_of: Callable[[], Any]) -> Any:
    """A step as in trainer.loop, without records."""
    import chainer

    from trainer.communicators import COMMUNICATORS
    from trainer.initial import named_gradients, set_initial
    from trainer.loop import gradients
    from trainer.loss_scale import LossScale, Scaled
    from trainer.models import MODELS
    from trainer.optimizers import OPTIMIZERS, Optimizer

    chainer.global_config.dtype = np.dtype(np.float32)
    chainer.global_config.use_ideep = "never"
    model = MODELS[contest.arch](NCLASSES)
    set_initial(model, 0, model.initial_limit)
    device.place(model)
    name = "pure_nccl" if contest.gpus > 1 else "flat"
    communicator = COMMUNICATORS[name](world.mpi, 1, device.gpu)
    optimizer: Optimizer = OPTIMIZERS[SETTINGS.name](model, SETTINGS)
    scale: Optional[LossScale] = LossScale() if contest.precision == "mixed" else None
    if scale is not None:
        optimizer = Scaled(optimizer, scale)
    steps = count(1)

    def step() -> None:
        factor = scale.factor if scale is not None else 1.0
        gradients(model, batch_of(), 0, device, factor)
        if contest.gpus > 1:
            communicator.average_gradients(model)
        if scale is not None:
            scale.settle(list(named_gradients(model).values()))
        optimizer.update(SETTINGS.lr, 0.0, next(steps))

    return step


def work(contest: Contest) -> None:
    pool = open_pool(contest) if contest.data == "packed" else None
    from trainer.memory import keep_freed_memory
    from trainer.ranks import join

    keep_freed_memory()
    world = join(contest.ranks)
    device = open_device(world, contest)
    batch_of = (
        synthetic(contest, device) if pool is None else packed(contest, device, pool, world.rank)
    )
    step = prepare(contest, world, device, batch_of)

    def wait() -> None:
        if device.gpu is not None:
            device.gpu.cupy.cuda.Device().synchronize()
        world.mpi.Barrier()

    rates = timed(step, wait, contest)
    if world.rank == 0:
        answer(rates)
    if pool is not None:
        pool.close()


if __name__ == "__main__":
    if sys.argv[1] == "look":
        answer(look())
    else:
        work(contest_of(sys.argv[1]))
