"""The checkpoints of a run: written by all ranks together, the newest good one found, N kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Collection, List, Mapping, Optional, Sequence, Tuple

import chainer

from manifests.record.checkpoint import (
    Damaged,
    Head,
    Prefix,
    Sums,
    cut_records,
    damage,
    read_head,
    steps_digest,
)
from manifests.record.checkpoint_names import checkpoint_name, checkpoints_in
from manifests.record.outcome import SeenGpus
from manifests.record.run_files import RunFiles, temporary_prefix
from manifests.record.schema import Manifest
from trainer.checkpoint_file import (
    fill_arrays,
    own_arrays,
    own_name,
    shared_arrays,
    unfit,
    write_checkpoint,
)
from trainer.files import saving
from trainer.gpu.succession import taken_over
from trainer.optimizers import Optimizer
from trainer.ranks import Ranks
from trainer.statistics import RankStatistics
from trainer.trouble import TrainerError

SET_ASIDE = ".damaged"


@dataclass(frozen=True)
class Found:
    """A checkpoint that can be used, and sentences on newer ones that cannot."""

    path: Path
    head: Head
    notes: Tuple[str, ...]


@dataclass(frozen=True)
class Written:
    """What a process has written down when a checkpoint is made: one value for each of its ranks;
    the process of rank 0 alone has a ``log``."""

    trails: Sequence[Prefix]
    sums: Sequence[Sums]
    log: Optional[Prefix]


class Checkpoints:
    def __init__(
        self,
        ranks: Ranks,
        files: RunFiles,
        manifest: Manifest,
        model: chainer.Link,
        optimizer: Optimizer,
        statistics: RankStatistics,
        gpus: Optional[SeenGpus] = None,
    ) -> None:
        self._ranks = ranks
        self._files = files
        self._manifest = manifest
        self._model = model
        self._optimizer = optimizer
        self._statistics = statistics
        self._resumed_at: List[int] = []
        #: What the run has of GPUs: this job's, and what was another of the jobs before.
        self.gpus = gpus

    @property
    def resumed_at(self) -> List[int]:
        return list(self._resumed_at)

    def bytes_to_save(self) -> int:
        return sum(x.nbytes for x in self._shared().values())

    def resume(self) -> Optional[Found]:
        """Fill network and optimizer from the newest good checkpoint; None where there is none.

        Every process must call it. Raises TrainerError when there are checkpoints and none is good,
        or when the run had GPUs of another class before.
        """
        chosen = self._choose() if self._ranks.rank == 0 else None
        found: Optional[Found] = self._ranks.from_first(chosen)
        if found is None:
            return None
        arrays = {**self._shared(), **self._own()}
        try:
            fill_arrays(found.path, arrays)
        except (Damaged, OSError) as error:
            raise TrainerError(
                f"{found.path}: rank 0 found it good, rank {self._ranks.rank} reads: {error}",
                "look after the file system of the run directory, then resume the run",
            ) from error
        self._resumed_at = [*found.head.resumed_at, found.head.step]
        self.gpus = taken_over(found.head.gpus, self.gpus, found.head.step)
        return found

    def save(self, step: int, elapsed: float, written: Written, *, needed: bool) -> str:
        """Write the state after ``step`` and drop what is too many; return what went wrong, or "".

        Every process must call it at the same step. A full disk does not end a run that can go on
        without this checkpoint; where it is ``needed``, TrainerError is raised.
        """
        ranks = self._ranks
        trails, sums = ranks.by_rank(written.trails), ranks.by_rank(written.sums)
        own = {name: _on_host(x) for name, x in self._own().items()}
        statistics = ranks.mpi.gather(own, root=0)
        if ranks.rank == 0:
            assert written.log is not None
            head = Head(
                identity_digest=self._manifest.identity_digest,
                steps_digest=steps_digest(self._manifest.identity),
                step=step,
                ranks=ranks.size,
                entries={},
                trail=trails,
                log=written.log,
                sums=sums,
                elapsed=elapsed,
                resumed_at=self._resumed_at,
                gpus=self.gpus,
            )
            arrays = dict(self._shared())
            for of_process in statistics:
                arrays.update(of_process)
            try:
                with saving(self._files.checkpoints):
                    self._files.checkpoints.mkdir(parents=True, exist_ok=True)
                write_checkpoint(self._files.checkpoints / checkpoint_name(step), head, arrays)
                self._prune()
            except TrainerError as error:
                if needed:
                    raise
                return error.message
        return ""

    def _shared(self) -> Mapping[str, chainer.types.NdArray]:
        return shared_arrays(self._model, self._optimizer)

    def _own(self) -> Mapping[str, chainer.types.NdArray]:
        """Of all ranks of this process."""
        return {
            name: array
            for rank in self._ranks.hosted
            for name, array in own_arrays(self._statistics, rank).items()
        }

    def _choose(self) -> Optional[Found]:
        sweep(self._files.checkpoints)
        own = {
            own_name(rank, name)
            for rank in range(self._ranks.size)
            for name in self._statistics.names
        }
        return newest_good(self._files, self._manifest, self._shared().keys() | own)

    def _prune(self) -> None:
        kept = self._manifest.circumstance.checkpointing.kept
        with saving(self._files.checkpoints):
            for path in checkpoints_in(self._files.checkpoints)[kept:]:
                path.unlink(missing_ok=True)


def newest_good(files: RunFiles, manifest: Manifest, names: Collection[str]) -> Optional[Found]:
    """The newest checkpoint that is whole and of this run; damaged newer ones are set aside.

    Raises TrainerError when there are checkpoints and none is good; then all stay as they are.
    """
    damaged: List[Tuple[Path, str]] = []
    for path in checkpoints_in(files.checkpoints):
        try:
            head = read_head(path)
            problem = foreign(head, manifest) or unfit(head, names) or damage(path)
            problem = problem or cut_records(head, files)
        except Damaged as error:
            problem = str(error)
        except OSError as error:
            problem = f"cannot be read: {error.strerror}"
        if not problem:
            return Found(path, head, tuple(_set_aside(damaged, path)))
        damaged.append((path, problem))
    if damaged:
        texts = "; ".join(f"{path.name}: {problem}" for path, problem in damaged)
        raise TrainerError(
            f"{files.checkpoints}: no checkpoint can be used: {texts}",
            "restore one from a copy, or remove the folder to begin with the first step",
        )
    return None


def foreign(head: Head, manifest: Manifest) -> str:
    """Why a checkpoint is not one of this run; "" if it is."""
    ranks = manifest.identity.world.ranks
    if head.ranks != ranks:
        return f"was made by {head.ranks} ranks, the run has {ranks}"
    if head.steps_digest != steps_digest(manifest.identity):
        return "was made by a run of another identity"
    return ""


def sweep(folder: Path) -> None:
    """Remove what a killed run was writing."""
    with saving(folder):
        for path in folder.glob(f"{temporary_prefix(Path('step-'))[:-1]}*"):
            path.unlink(missing_ok=True)


def _set_aside(damaged: Sequence[Tuple[Path, str]], instead: Path) -> List[str]:
    """Rename them, so that they are not taken for the newest again; a sentence for each."""
    notes = []
    for path, problem in damaged:
        with saving(path):
            path.replace(path.with_name(path.name + SET_ASIDE))
        notes.append(
            f"checkpoint {path.name}: {problem}; it is kept as {path.name}{SET_ASIDE}, "
            f"the run goes on from {instead.name}"
        )
    return notes


def _on_host(array: chainer.types.NdArray) -> chainer.types.NdArray:
    return chainer.backends.cuda.to_cpu(array)
