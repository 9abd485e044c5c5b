"""How a run ends: with model and result, or early, with a note that it can be resumed."""

from __future__ import annotations

import time
from typing import Dict

from manifests.record.checkpoint_names import checkpoint_name
from manifests.record.outcome import Stop
from manifests.record.run_files import RunFiles
from manifests.record.schema import Manifest
from trainer.checkpoints import Checkpoints
from trainer.digest import tensor_digests
from trainer.files import json_bytes, write_whole
from trainer.initial import named_arrays
from trainer.loop import TrainingEnd, Updater
from trainer.model_file import model_bytes
from trainer.ranks import Ranks
from trainer.result import make_result, observed, places, trail_digest, trail_in_stretches
from trainer.stopping import StopRequest


def save_result(
    ranks: Ranks,
    files: RunFiles,
    manifest: Manifest,
    updater: Updater,
    ending: TrainingEnd,
    started: float,
    checkpoints: Checkpoints,
) -> None:
    """Write ``model.npz`` and ``result.json``; every process must call it.

    Raises TrainerError unless all processes hold the same parameters.
    """
    updater.statistics.bind_mean()
    tensors = tensor_digests(named_arrays(updater.model))
    ranks.check_equal(tensors, "after the last step")
    kept = ranks.from_first(kept_states(files, manifest, checkpoints))
    trail_sha256 = trail_digest(ranks, files)
    stretch_trails = trail_in_stretches(ranks, files, sorted({*kept, ending.step}))
    seats = places(ranks, updater.communicator.local_rank)
    if trail_sha256 is None:
        return
    packed = model_bytes(updater.model)
    write_whole(files.model, packed)
    seen = observed(
        manifest, started, time.time(), seats, checkpoints.resumed_at, updater.gpus, ranks.processes
    )
    rows = files.log.read_bytes()  # rank 0 wrote it: no network file system shows it an old one
    result = make_result(
        manifest,
        ending.step,
        tensors,
        trail_sha256,
        packed,
        rows,
        ending.row,
        seen,
        kept,
        stretch_trails,
    )
    write_whole(files.result, json_bytes(result.model_dump(mode="json")))


def kept_states(files: RunFiles, manifest: Manifest, checkpoints: Checkpoints) -> Dict[int, str]:
    """The states of the steps computed that have a checkpoint now; on the process of rank 0."""
    part = manifest.circumstance.slice
    begin = 0 if part is None else part.begin
    return {
        step: state
        for step, state in checkpoints.states.items()
        if step > begin and (files.checkpoints / checkpoint_name(step)).exists()
    }


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
