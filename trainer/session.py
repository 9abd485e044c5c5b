"""The steps of a run: data -> learner -> checkpoint -> records -> loop -> ending."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import Dict, Optional, Tuple

from manifests.record.checkpoint import Head
from manifests.record.run_files import RunFiles
from manifests.record.schema import Manifest
from trainer.checkpoints import Checkpoints, archived_steps, begins_slice
from trainer.communicators import Reduction, make_reduction
from trainer.communicators.nccl_report import (
    ask_for_report,
    merged_reports,
    parse_report,
    read_report,
    site_variables,
)
from trainer.contract import CODE_ROOT, check_imported
from trainer.data import Data
from trainer.device import Device, open_device
from trainer.digest import tensor_digests
from trainer.ending import save_result, say_stopped
from trainer.files import JsonLines, saving
from trainer.initial import named_arrays
from trainer.iterators.pool import Pool
from trainer.limits import allow_open_files
from trainer.log import Log
from trainer.loop import Records, Safety, Updater, train
from trainer.loss_scale import LossScale, Scaled
from trainer.models.build import build_model
from trainer.optimizers import OPTIMIZERS, Optimizer
from trainer.order import SampleOrder
from trainer.prefetch import make_prefetcher
from trainer.progress import Progress
from trainer.ranks import Ranks
from trainer.statistics import RankStatistics
from trainer.step_trace import StepTrace
from trainer.stopping import SLOW_DISK, Durations, SignalFlag, Watch, deadline_in
from trainer.table import SampleTable
from trainer.trail import Trail
from trainer.trouble import TrainerError


def train_and_save(
    ranks: Ranks,
    pool: Pool,
    files: RunFiles,
    manifest: Manifest,
    started: float,
    warned: SignalFlag,
) -> None:
    """Train to the end, or to a checkpoint where the job has to end; write what came out."""
    device = open_device(ranks, manifest)
    with device.failures(ranks.rank):
        data = open_data(pool, device, files, manifest)
        updater = make_learner(ranks, device, files, manifest)
        checkpoints = Checkpoints(
            ranks,
            files,
            manifest,
            updater.model,
            updater.optimizer,
            updater.statistics,
            updater.gpus,
        )
        part = manifest.circumstance.slice
        # Before the checkpoints are read: the record of their states stands in there.
        with saving(files.results):
            files.results.mkdir(exist_ok=True)
        head = resume(checkpoints, ranks, data.order.steps, begin=part.begin if part else 0)
        updater = replace(updater, gpus=checkpoints.gpus)
        ranks.check_equal(tensor_digests(named_arrays(updater.model)), "before the first step")
        records = open_records(ranks, files, manifest, data.order, head)
        ending = train(
            ranks,
            data,
            updater,
            records,
            Safety(checkpoints, watch(ranks, manifest, data, checkpoints, warned)),
            first=head.step if head else 0,
            last=part.end if part else None,
            every_step=manifest.circumstance.observing.test,
        )
        for trail in records.trails:
            trail.close()
        check_imported(manifest.identity.code, CODE_ROOT, sys.modules)
        if ending.stopped is not None:
            say_stopped(ranks, files, ending.stopped, ending.step, data.order.steps)
        else:
            save_result(ranks, files, manifest, updater, ending, started, checkpoints)
    # Nobody leaves before all is written: a process that ends early may not be waited for.
    ranks.gather(None)


def open_data(pool: Pool, device: Device, files: RunFiles, manifest: Manifest) -> Data:
    settings = manifest.identity.training
    return Data(
        order=SampleOrder(
            seed=settings.seed,
            samples=manifest.identity.data.train.samples,
            batchsize=settings.batchsize,
            ranks=manifest.identity.world.ranks,
            epochs=settings.epochs,
        ),
        prefetcher=make_prefetcher(pool, device.gpu),
        train=SampleTable(files.train_table),
        val=SampleTable(files.val_table),
        nclasses=settings.nclasses,
        val_batchsize=settings.val_batchsize,
    )


def make_learner(ranks: Ranks, device: Device, files: RunFiles, manifest: Manifest) -> Updater:
    settings = manifest.identity.training
    communicator, reported = make_communicator(ranks, device, files, manifest)
    model, notes = build_model(settings, manifest.identity.data, files)
    if ranks.rank == 0:
        print("".join(f"initmodel: {note}\n" for note in notes), end="", flush=True)
    device.place(model)
    optimizer: Optimizer = OPTIMIZERS[settings.optimizer.name](model, settings.optimizer)
    scale = LossScale() if settings.precision == "mixed" else None
    if scale is not None:
        optimizer = Scaled(optimizer, scale)
    return Updater(
        device=device,
        model=model,
        optimizer=optimizer,
        statistics=RankStatistics(model, ranks),
        communicator=communicator,
        schedule=settings.optimizer,
        scale=scale,
        gpus=device.seen_with(reported),
    )


def make_communicator(
    ranks: Ranks, device: Device, files: RunFiles, manifest: Manifest
) -> Tuple[Reduction, Dict[str, str]]:
    """With what NCCL reported of itself and was told by the site; nothing without GPUs."""
    name, world = manifest.identity.training.communicator, manifest.identity.world
    if device.gpu is None:
        return make_reduction(name, ranks, world.nodes), {}
    with saving(files.logs):
        files.logs.mkdir(exist_ok=True)
    variables = site_variables(os.environ, manifest.identity.determinism.environment)
    report = ask_for_report(os.environ, files.logs, ranks.rank)
    communicator = make_reduction(name, ranks, world.nodes, device.gpu)
    reports = ranks.gather({**parse_report(read_report(report)), **variables})
    return communicator, merged_reports(reports)


def resume(checkpoints: Checkpoints, ranks: Ranks, steps: int, *, begin: int = 0) -> Optional[Head]:
    """Go on from the newest good checkpoint, if there is one; return its head.

    Raises TrainerError for a slice that is to ``begin`` with a state which is not there.
    """
    found = checkpoints.resume()
    if found is None or found.head.step < begin:
        if begin:
            raise TrainerError(
                f"the state after step {begin}, with which this slice begins, is not there",
                "plan the slice again: bundle.py rerun RUN --from-step S --to-step T",
            )
        return None
    if ranks.rank == 0:
        notes = [*found.notes, f"resumed after step {found.head.step} of {steps}"]
        print("\n".join(notes), flush=True)
    return found.head


def open_records(
    ranks: Ranks, files: RunFiles, manifest: Manifest, order: SampleOrder, head: Optional[Head]
) -> Records:
    """Trail, log and progress; those of a resumed run go on where its checkpoint was made."""
    first = ranks.rank == 0
    interval = manifest.circumstance.observing.trail_interval
    traced = manifest.circumstance.trace
    allow_open_files(len(ranks.hosted) * (1 if traced is None else 2))
    before = None if head is None or begins_slice(manifest, head) else head
    trails = [
        Trail(files, rank, interval, order.steps, before.trail[rank].length if before else 0)
        for rank in ranks.hosted
    ]
    log = Log(
        ranks,
        JsonLines(files.log, before.log.length if before else 0) if first else None,
        sys.stdout if first else None,
        sums=[head.sums[rank] for rank in ranks.hosted] if head else None,
        elapsed=head.elapsed if head else 0.0,
    )
    begin = head.step if head else 0
    part = manifest.circumstance.slice
    last = part.end if part else order.steps
    return Records(
        trails,
        log,
        Progress(sys.stderr, last, first=begin) if first else None,
        None if traced is None else StepTrace(files, ranks, traced),
    )


def watch(
    ranks: Ranks, manifest: Manifest, data: Data, checkpoints: Checkpoints, warned: SignalFlag
) -> Watch:
    expected = Durations(
        saving=checkpoints.bytes_to_save() / SLOW_DISK,
        validation_steps=len(data.val) / data.order.per_step,
    )
    settings = manifest.circumstance.checkpointing
    archived = archived_steps(manifest)
    return Watch(ranks, settings, warned, deadline_in(os.environ), expected, archived=archived)
