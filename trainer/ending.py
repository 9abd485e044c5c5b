"""How a run ends: with model and result, or early, with a note that it can be resumed."""

from __future__ import annotations

import time
from typing import List

from manifests.record.checkpoint_names import checkpoint_name
from manifests.record.outcome import Stop
from manifests.record.run_files import RunFiles
from manifests.record.schema import Manifest
from trainer.digest import tensor_digests
from trainer.files import json_bytes, write_whole
from trainer.initial import named_arrays
from trainer.loop import TrainingEnd, Updater
from trainer.model_file import model_bytes
from trainer.ranks import Ranks
from trainer.result import make_result, observed, places, trail_digest
from trainer.stopping import StopRequest


def save_result(
    ranks: Ranks,
    files: RunFiles,
    manifest: Manifest,
    updater: Updater,
    ending: TrainingEnd,
    started: float,
    resumed_at: List[int],
) -> None:
    """Write ``model.npz`` and ``result.json``; every process must call it.

    Raises TrainerError unless all processes hold the same parameters.
    """
    updater.statistics.bind_mean()
    tensors = tensor_digests(named_arrays(updater.model))
    ranks.check_equal(tensors, "after the last step")
    trail_sha256 = trail_digest(ranks, files)
    seats = places(ranks, updater.communicator.local_rank)
    if trail_sha256 is None:
        return
    packed = model_bytes(updater.model)
    write_whole(files.model, packed)
    seen = observed(
        manifest, started, time.time(), seats, resumed_at, updater.gpus, ranks.processes
    )
    rows = files.log.read_bytes()  # rank 0 wrote it: no network file system shows it an old one
    result = make_result(
        manifest, ending.step, tensors, trail_sha256, packed, rows, ending.row, seen
    )
    write_whole(files.result, json_bytes(result.model_dump(mode="json")))


def say_stopped(ranks: Ranks, files: RunFiles, why: StopRequest, step: int, steps: int) -> None:
    """``stopped.json`` tells the job script that the run can be resumed, a line tells the user."""
    if ranks.rank != 0:
        return
    signalled = why is StopRequest.STOP_FOR_SIGNAL
    stop = Stop(
        reason="signal" if signalled else "walltime",
        step=step,
        steps=steps,
        checkpoint=checkpoint_name(step),
    )
    write_whole(files.stopped, json_bytes(stop.model_dump(mode="json")))
    cause = "a warning signal came" if signalled else "the walltime is nearly over"
    print(f"stopped after step {step} of {steps}: {cause}", flush=True)
