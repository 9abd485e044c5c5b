"""The whole tool on handwritten digits: build, train, rerun, compare."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Callable, List

from container import atomic
from manifests.datasets.digits import make_digits
from manifests.surroundings import Surroundings

#: Small enough for two cores: inputs of 67 pixels instead of the network's 227.
CONFIG = """\
# Network in Network on 8-class handwritten digits, 2 ranks on this machine.
# Every key: docs/configuration.md
jobname: digits
stack: cpu
site: local
nnodes: 1
ranks_per_node: 2

arch: nin
nclasses: 8
insize: {insize}
epoch: {epoch}
batchsize: {batchsize}
seed: 0
optimizer: momentum_sgd
lr: {lr}
communicator: naive

train: data/train.txt
val: data/val.txt
mean.npy: data/mean.npy
loadtype: original
iterator: process
loaderjob: 1
trail_interval: 10

out: runs
"""


class Stopwatch:
    """Wall-clock seconds of the demo's steps, for its closing table."""

    def __init__(self) -> None:
        self.steps: List[str] = []
        self.begun = time.monotonic()

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self.steps.append(f"{name} {now - self.begun:.1f} s")
        self.begun = now


def write_config(folder: Path, text: str) -> Path:
    """Write the demo's config unless the user has one there already."""
    path = folder / "config.yaml"
    if not path.exists():
        atomic.write_bytes(path, text.encode("utf-8"))
    return path


def prepare_demo(folder: Path, around: Surroundings) -> Path:
    """Make the data set and the config below ``folder`` where they are missing."""
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / "data"
    if not (data / "mean.npy").exists():
        make_digits(data, progress=around.progress)
    return write_config(folder, CONFIG)


Say = Callable[[str], None]
