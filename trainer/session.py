"""The story of a run: data -> model -> optimizer -> records -> loop -> result."""

from __future__ import annotations

import sys
import time

from manifests.schema import Manifest, RunFiles
from trainer.communicators import COMMUNICATORS
from trainer.data import Data
from trainer.digest import tensor_digests
from trainer.files import JsonLines, json_bytes, saving, write_whole
from trainer.initial import named_arrays
from trainer.iterators.pool import Pool
from trainer.log import Log
from trainer.loop import Learner, Records, train
from trainer.model_file import model_bytes
from trainer.models.build import build_model
from trainer.optimizers import OPTIMIZERS
from trainer.order import Order
from trainer.progress import Progress
from trainer.result import make_result, observed, places, trail_digest
from trainer.statistics import average_statistics
from trainer.table import SampleTable
from trainer.trail import Trail
from trainer.world import World


def train_and_save(
    everyone: World, pool: Pool, files: RunFiles, manifest: Manifest, started: float
) -> None:
    settings = manifest.identity.training
    observing = manifest.circumstance.observing
    first = everyone.rank == 0

    make_communicator = COMMUNICATORS[settings.communicator]
    communicator = make_communicator(everyone.mpi, manifest.identity.world.nodes)
    order = Order(
        seed=settings.seed,
        samples=manifest.identity.data.train.samples,
        batchsize=settings.batchsize,
        ranks=everyone.size,
        epochs=settings.epochs,
    )
    data = Data(
        order=order,
        pool=pool,
        train=SampleTable(files.train_table),
        val=SampleTable(files.val_table),
        nclasses=settings.nclasses,
        val_batchsize=settings.val_batchsize,
    )
    model, notes = build_model(settings, manifest.identity.data, files)
    if first:
        print("".join(f"initmodel: {note}\n" for note in notes), end="", flush=True)
    everyone.check_equal(tensor_digests(named_arrays(model)), "before the first step")
    optimizer = OPTIMIZERS[settings.optimizer.name](model, settings.optimizer)

    with saving(files.results):
        files.results.mkdir(exist_ok=True)
    trail = Trail(files, everyone.rank, observing.trail_interval, order.steps)
    lines = JsonLines(files.log) if first else None
    records = Records(
        trail,
        Log(everyone, lines, sys.stdout if first else None),
        Progress(sys.stderr, order.steps) if first else None,
    )
    learner = Learner(model, optimizer, communicator, settings.optimizer)
    metrics = train(everyone, data, learner, records, every_step=observing.test)
    trail.close()

    average_statistics(model, everyone)
    tensors = tensor_digests(named_arrays(model))
    everyone.check_equal(tensors, "after the last step")
    trail_sha256 = trail_digest(everyone, files)
    ranks = places(everyone, communicator.local_rank)
    if trail_sha256 is not None:
        packed = model_bytes(model)
        write_whole(files.model, packed)
        seen = observed(manifest, started, time.time(), ranks)
        log = files.log.read_bytes()  # rank 0 wrote it: no network file system shows it an old one
        result = make_result(
            manifest, order.steps, tensors, trail_sha256, packed, log, metrics, seen
        )
        write_whole(files.result, json_bytes(result.model_dump(mode="json")))
    # Nobody leaves before the result is there: a rank that ends early may not be waited for.
    everyone.gather(None)
