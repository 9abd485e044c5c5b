"""What writing things down costs: the trail, as a part of a training step; a checkpoint, beside
Chainer's own serializer and torch.save.

python -m benchmarks.records [ARCH…]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, List, Tuple

import chainer
import numpy as np
import torch

from benchmarks.rounds import machine, table, take_turns
from manifests.record import schema
from manifests.record.checkpoint import Head, Prefix
from manifests.record.keys import INPUT_SIDE
from manifests.record.run_files import RunFiles
from manifests.record.schema import Observing
from trainer.checkpoint_file import fill_arrays, shared_arrays, write_checkpoint
from trainer.data import TrainingBatch
from trainer.initial import set_initial
from trainer.loop import gradients
from trainer.models import MODELS
from trainer.optimizers import OPTIMIZERS
from trainer.order import StreamPosition
from trainer.trail import Trail

BATCH = 16
ROUNDS = 3
INTERVAL = Observing().trail_interval
SETTINGS = schema.Optimizer(name="momentum_sgd", lr=0.01)


def batch_of(arch: str) -> TrainingBatch:
    generator = np.random.Generator(np.random.Philox(1))
    side = INPUT_SIDE[arch][1]
    images = generator.standard_normal((BATCH, 3, side, side), np.float32)
    labels = np.arange(BATCH, dtype=np.int32)
    return TrainingBatch(images, labels, [StreamPosition(k, 0) for k in range(BATCH)])


def measure(arch: str, folder: Path) -> Tuple[List[str], List[str]]:
    """The rows of one network in the two tables."""
    chainer.global_config.dtype = np.dtype(np.float32)
    chainer.global_config.use_ideep = "never"
    model = MODELS[arch](1000)
    set_initial(model, 0, model.initial_limit)
    optimizer: Any = OPTIMIZERS[SETTINGS.name](model, SETTINGS)
    batch = batch_of(arch)
    files = RunFiles(folder)
    always, never = Trail(files, 0, 1, 0), Trail(files, 0, 10**9, 0)
    head = Head(
        identity_digest="", steps_digest="", step=1, ranks=1, entries={},
        trail=[], log=Prefix(length=0, sha256=""), sums=[], elapsed=0.0, resumed_at=[],
    )  # fmt: skip
    arrays = shared_arrays(model, optimizer)
    tensors = {name: torch.from_numpy(np.asarray(array)) for name, array in arrays.items()}

    def step() -> None:
        gradients(model, batch, 0)
        optimizer.update(0.0, 0.0, 1)

    def record(trail: Trail) -> None:
        trail.step(1, 0.5, batch.slots, 1.0, trail.gradients(1, model), model)

    def chainers_own() -> None:
        chainer.serializers.save_npz(folder / "chainer.npz", model, compression=False)

    contestants = {
        "step": step,
        "record with tensors": lambda: record(always),
        "record without": lambda: record(never),
        "checkpoint": lambda: write_checkpoint(folder / "step.npz", head, arrays),
        "checkpoint read": lambda: fill_arrays(folder / "step.npz", arrays),
        "Chainer save_npz": chainers_own,
        "torch.save": lambda: torch.save(tensors, folder / "torch.pt"),
    }
    step()
    times = take_turns(contestants, ROUNDS, arch)
    middle = {name: found.middle_wall for name, found in times.items()}
    each = middle["record with tensors"] / INTERVAL
    each += middle["record without"] * (INTERVAL - 1) / INTERVAL
    megabytes = sum(array.nbytes for array in arrays.values()) / 1e6
    of_model = sum(parameter.array.nbytes for parameter in model.params()) / 1e6
    trail_row = [
        arch, f"{middle['step']:.3f} s", f"{1e3 * middle['record with tensors']:.1f} ms",
        f"{1e3 * middle['record without']:.2f} ms", f"{100 * each / middle['step']:.2f} %",
    ]  # fmt: skip
    rates: Dict[str, float] = {
        "checkpoint": megabytes, "checkpoint read": megabytes, "torch.save": megabytes,
        "Chainer save_npz": of_model,
    }  # fmt: skip
    checkpoint_row = [arch, f"{megabytes:.0f} MB"]
    checkpoint_row += [
        f"{middle[name]:.2f} s ({size / middle[name]:.0f} MB/s)" for name, size in rates.items()
    ]
    always.close()
    never.close()
    return trail_row, checkpoint_row


def main(archs: List[str]) -> None:
    torch.set_num_threads(1)
    where = machine()
    with tempfile.TemporaryDirectory(dir=".bench") as name:
        rows = [measure(arch, Path(name)) for arch in archs or sorted(MODELS)]
    print(f"Records ({where}; batch {BATCH}, medians of {ROUNDS} turns)\n")
    heads = ["network", "step", "record with tensors", "record without"]
    print(table([*heads, f"trail, every {INTERVAL} steps"], [row for row, _ in rows]))
    print()
    peers = ["written, synced", "read, checked", "torch.save", "Chainer save_npz, parameters only"]
    print(table(["checkpoint of", "size", *peers], [row for _, row in rows]))


if __name__ == "__main__":
    main(sys.argv[1:])
