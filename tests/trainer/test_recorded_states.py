"""Digests of kept states: the trainer records them, and goes on from a recorded one only."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Callable

import pytest

from manifests.record import schema
from manifests.record.checkpoint import damage, read_head
from manifests.record.checkpoint_names import checkpoints_in
from manifests.record.states import read_states, state_digest
from tests.trainer.checkpointed_run import CheckpointedRun, moved, rewrite
from trainer.trouble import TrainerError


def alter_with_its_digest(path: Path) -> None:
    """One array and its digest in the head: the file is whole."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    head = json.loads(entries["head.json"])
    name = next(name for name in entries if name.startswith("optimizer/"))
    entries[name] = entries[name][:-1] + bytes([entries[name][-1] ^ 1])
    head["entries"][name] = hashlib.sha256(entries[name]).hexdigest()
    rewrite(path, {**entries, "head.json": json.dumps(head).encode()})
    assert damage(path) is None


def test_a_state_that_is_not_the_recorded_one_is_set_aside(run: CheckpointedRun) -> None:
    model, optimizer = moved(1)
    older = run.save(3, model, optimizer)
    path = run.save(7, model, optimizer)
    expected = read_states(run.files.states)[7]
    alter_with_its_digest(path)
    altered = state_digest(read_head(path))
    checkpoints = run.checkpoints(0, *moved(2))
    found = checkpoints.resume()
    assert found is not None and found.path == older
    assert found.notes == (
        f"checkpoint {path.name}: was altered: its state has the digest {altered}, expected "
        f"{expected}; it is kept as {path.name}.damaged, the run goes on from {older.name}",
    )
    assert checkpoints.states == {3: state_digest(read_head(older))}


def test_a_state_that_a_killed_job_did_not_record_is_read_from_its_checkpoint(
    run: CheckpointedRun,
) -> None:
    model, optimizer = moved(1)
    for step in (3, 7):
        path = run.save(step, model, optimizer)
    run.files.states.unlink()
    checkpoints = run.checkpoints(0, *moved(2))
    found = checkpoints.resume()
    assert found is not None and found.path == path
    assert list(checkpoints.states) == [3, 7]
    # Also where no further checkpoint is written: the result names it, and `verify` looks for it.
    assert read_states(run.files.states) == checkpoints.states


def test_a_record_of_states_that_cannot_be_read_ends_the_run(run: CheckpointedRun) -> None:
    run.save(3, *moved(1))
    run.files.states.write_text("{}")
    with pytest.raises(TrainerError) as caught:
        run.checkpoints(0, *moved(2)).resume()
    assert (caught.value.message, caught.value.next_step) == (
        f"{run.files.states}: is not a record of states",
        "restore the file from a copy of the run directory",
    )
    run.files.states.unlink()
    run.files.states.mkdir()
    with pytest.raises(TrainerError) as caught:
        run.checkpoints(0, *moved(2)).resume()
    assert (caught.value.message, caught.value.next_step) == (
        f"{run.files.states} cannot be read: Is a directory",
        "restore the file from a copy of the run directory",
    )


def test_the_states_of_the_archive_stay(make_run: Callable[..., CheckpointedRun]) -> None:
    run = make_run(kept=1)
    checkpointing = schema.Checkpointing(kept=1, archive=1)
    circumstance = run.manifest.circumstance.model_copy(update={"checkpointing": checkpointing})
    run.manifest = run.manifest.model_copy(update={"circumstance": circumstance})
    middle = run.manifest.identity.steps // 2
    for step in (1, middle, middle + 1, middle + 2):
        run.save(step, *moved(1))
    found = [read_head(path).step for path in checkpoints_in(run.files.checkpoints)]
    assert found == [middle + 2, middle]
