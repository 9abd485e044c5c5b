"""The checkpoints of a run: written by all ranks together, the newest good one found, some kept."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Collection, Dict, List, Mapping, Optional, Sequence, Tuple

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
from manifests.record.checkpoint_names import checkpoint_name, checkpoints_in, step_of
from manifests.record.outcome import SeenGpus
from manifests.record.run_files import RunFiles, temporary_prefix
from manifests.record.schema import Manifest
from manifests.record.states import (
    State,
    States,
    archive_plan,
    other_state,
    read_states,
    state_digest,
)
from trainer.checkpoint_file import (
    fill_arrays,
    own_arrays,
    own_name,
    shared_arrays,
    unfit,
    write_checkpoint,
)
from trainer.files import json_bytes, saving, write_whole
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
        self._archived = archived_steps(manifest)
        #: Digests of the kept states by step, on the process of rank 0.
        self._states: Dict[int, str] = {}
        #: What the run has of GPUs: this job's, and what was another of the jobs before.
        self.gpus = gpus

    @property
    def resumed_at(self) -> List[int]:
        return list(self._resumed_at)

    @property
    def states(self) -> Dict[int, str]:
        """Digests of the kept states by step, in order, on the process of rank 0."""
        return dict(sorted(self._states.items()))

    def bytes_to_save(self) -> int:
        return sum(x.nbytes for x in self._shared().values())

    def resume(self) -> Optional[Found]:
        """Fill network and optimizer from the newest good checkpoint; None where there is none.

        Every process must call it. Raises TrainerError when there are checkpoints and none is good,
        or when the run had GPUs of another class before.
        """
        chosen = self._choose() if self._ranks.rank == 0 else None
        if self._ranks.rank == 0:
            self._states = states_up_to(self._files, chosen.head if chosen else None)
            if self._states != recorded_states(self._files):
                self._record()
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
        if not begins_slice(self._manifest, found.head):
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
                path = self._files.checkpoints / checkpoint_name(step)
                whole = write_checkpoint(path, head, arrays)
                self._prune(whole)
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

    def _prune(self, written: Head) -> None:
        """Record the state that was written, then drop what is too many."""
        kept = self._manifest.circumstance.checkpointing.kept
        found = checkpoints_in(self._files.checkpoints)
        newest = {path.name for path in found[:kept]}
        archived = {checkpoint_name(step) for step in self._archived}
        spare = [path for path in found if path.name not in newest | archived]
        dropped = {path.name for path in spare}
        self._states = {
            **{s: one for s, one in self._states.items() if checkpoint_name(s) not in dropped},
            written.step: state_digest(written),
        }
        self._record()
        with saving(self._files.checkpoints):
            for path in spare:
                path.unlink(missing_ok=True)

    def _record(self) -> None:
        """Write ``results/states.json`` anew."""
        record = States(states=[State(step=s, state=one) for s, one in self.states.items()])
        write_whole(self._files.states, json_bytes(record.model_dump(mode="json")))


def newest_good(files: RunFiles, manifest: Manifest, names: Collection[str]) -> Optional[Found]:
    """The newest checkpoint that is whole and of this run; damaged newer ones are set aside.

    Raises TrainerError when there are checkpoints and none is good; then all stay as they are.
    """
    damaged: List[Tuple[Path, str]] = []
    for path in checkpoints_in(files.checkpoints):
        try:
            head = read_head(path)
            problem = foreign(head, manifest) or unfit(head, names) or damage(path)
            problem = problem or other_state(head, recorded_states(files))
            if not begins_slice(manifest, head):
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


def archived_steps(manifest: Manifest) -> List[int]:
    """The steps after which the run keeps its state for ever."""
    archive = manifest.circumstance.checkpointing.archive
    return [] if archive is None else archive_plan(manifest.identity.steps, archive)


def begins_slice(manifest: Manifest, head: Head) -> bool:
    """Whether a slice begins with this state: the records before it are those of its original."""
    part = manifest.circumstance.slice
    return part is not None and head.step == part.begin


def recorded_states(files: RunFiles) -> Dict[int, str]:
    """Digests of the kept states by step. Raises TrainerError for a record that cannot be read."""
    restore = "restore the file from a copy of the run directory"
    try:
        return read_states(files.states)
    except OSError as error:
        raise TrainerError(f"{files.states} cannot be read: {error.strerror}", restore) from error
    except ValueError as error:
        raise TrainerError(f"{files.states}: is not a record of states", restore) from error


def states_up_to(files: RunFiles, head: Optional[Head]) -> Dict[int, str]:
    """The states in the checkpoints of a run that goes on from ``head``, its own among them; of one
    that begins with the first step none.

    A job may have been killed before it recorded one: that is read from the checkpoint.
    """
    if head is None:
        return {}
    recorded = recorded_states(files)
    found = {head.step: state_digest(head)}
    for path in checkpoints_in(files.checkpoints):
        step = step_of(path) or 0
        if step < head.step:
            with suppress(Damaged, OSError):
                found[step] = recorded.get(step) or state_digest(read_head(path))
    return found


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
