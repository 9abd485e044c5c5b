"""A run of two ranks whose checkpoints are written and read by this process alone, for tests."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, Dict, List, Optional

import chainer
import numpy as np

from manifests.record import schema
from manifests.record.checkpoint import Prefix, Sums
from manifests.record.checkpoint_names import checkpoints_in
from manifests.record.run_files import RunFiles
from trainer.checkpoint_file import own_arrays, shared_arrays
from trainer.checkpoints import Checkpoints, Written
from trainer.files import JsonLines
from trainer.models.resnet50 import Bottleneck
from trainer.optimizers import OPTIMIZERS
from trainer.statistics import RankStatistics

SETTINGS = schema.Optimizer(name="rmsprop_warmup", lr=0.1)
SUMS = Sums(loss=0.1 + 0.2, correct=3, correct_top5=7, samples=16, seconds=1.5)


class Two:
    """The world of rank 0 or 1 of two; what the other rank says is given."""

    size = processes = 2

    def __init__(self, rank: int, other: Dict[str, Any]) -> None:
        self.rank = rank
        self.hosted = (rank,)
        self._other = other
        self.mpi = self

    def by_rank(self, own: List[Any]) -> List[Any]:
        (value,) = own
        theirs = self._other["trail" if isinstance(value, Prefix) else "sums"]
        return [value, theirs] if self.rank == 0 else [theirs, value]

    def gather(self, value: Any, root: int) -> List[Any]:
        theirs = self._other["statistics"]
        return [value, theirs] if self.rank == 0 else [theirs, value]

    def from_first(self, value: Any) -> Any:
        return value


def statistics_of(model: Any, rank: int) -> RankStatistics:
    return RankStatistics(model, Two(rank, {}))  # type: ignore[arg-type]


def own(model: Any, rank: int) -> Dict[str, Any]:
    return own_arrays(statistics_of(model, rank), rank)


def moved(seed: int) -> Any:
    """A block with batch normalisation whose every array has been moved away from its start."""
    model = Bottleneck(4, 2, 1)
    generator = np.random.Generator(np.random.Philox(seed))
    optimizer = OPTIMIZERS["rmsprop_warmup"](model, SETTINGS)
    for array in {**shared_arrays(model, optimizer), **own(model, 0)}.values():
        array[...] = generator.standard_normal(array.shape, np.float32)
    return model, optimizer


def values(model: chainer.Link, optimizer: Any) -> Dict[str, bytes]:
    arrays = {**shared_arrays(model, optimizer), **own(model, 0)}
    return {name: array.tobytes() for name, array in arrays.items()}


class CheckpointedRun:
    """A run of two ranks whose trails and log have some lines."""

    def __init__(self, case: Any, kept: int = 2) -> None:
        case.manifest["circumstance"]["checkpointing"] = {"kept": kept}
        self.files: RunFiles = case.files
        self.manifest = schema.Manifest.model_validate(case.manifest)
        self.trails = [JsonLines(self.files.trail_of(rank)) for rank in (0, 1)]
        self.log = JsonLines(self.files.log)

    def save(self, step: int, model: Any, optimizer: Any, needed: bool = True) -> Path:
        for lines in (*self.trails, self.log):
            lines.append({"step": step})
        other, _ = moved(99)
        said = {
            "trail": self.trails[1].settled(),
            "sums": SUMS,
            "statistics": own(other, 1),
        }
        checkpoints = self.checkpoints(0, model, optimizer, said)
        written = Written([self.trails[0].settled()], [SUMS], self.log.settled())
        self.problem = checkpoints.save(step, 12.5, written, needed=needed)
        return checkpoints_in(self.files.checkpoints)[0]

    def checkpoints(
        self, rank: int, model: Any, optimizer: Any, said: Optional[Dict[str, Any]] = None
    ) -> Checkpoints:
        ranks: Any = Two(rank, said or {})
        statistics = statistics_of(model, rank)
        return Checkpoints(ranks, self.files, self.manifest, model, optimizer, statistics)


def rewrite(path: Path, entries: Dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
