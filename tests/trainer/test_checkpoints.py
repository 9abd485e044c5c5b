"""Checkpoint files: written by several ranks, read back, damaged in every way, kept N at a time."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

import numpy as np
import pytest

from manifests.record import schema
from manifests.record.checkpoint import (
    Damaged,
    Prefix,
    damage,
    read_head,
    steps_digest,
)
from manifests.record.checkpoint_names import checkpoints_in
from tests.trainer.checkpointed_run import (
    SETTINGS,
    SUMS,
    CheckpointedRun,
    moved,
    own,
    rewrite,
    values,
)
from trainer.checkpoint_file import fill_arrays, shared_arrays
from trainer.checkpoints import newest_good
from trainer.files import JsonLines
from trainer.models.resnet50 import Bottleneck
from trainer.optimizers import OPTIMIZERS
from trainer.trouble import TrainerError


def names_of(model: Any, optimizer: Any) -> List[str]:
    return [*shared_arrays(model, optimizer), *own(model, 0), *own(model, 1)]


def test_everything_comes_back_on_every_rank(run: CheckpointedRun) -> None:
    model, optimizer = moved(1)
    path = run.save(7, model, optimizer)
    assert path.name == "step-000000007.npz"
    fresh, again = moved(2)
    layout = [array.strides for array in shared_arrays(fresh, again).values()]
    found = run.checkpoints(0, fresh, again).resume()
    assert found is not None
    assert values(fresh, again) == values(model, optimizer)
    assert [array.strides for array in shared_arrays(fresh, again).values()] == layout
    head = found.head
    assert (head.step, head.elapsed, head.sums) == (7, 12.5, [SUMS, SUMS])
    assert head.log == Prefix(length=run.files.log.stat().st_size, sha256=head.log.sha256)

    # Rank 1 takes its own statistics and what all have alike.
    theirs, their_optimizer = moved(3)
    arrays = {**shared_arrays(theirs, their_optimizer), **own(theirs, 1)}
    fill_arrays(path, arrays)
    other, _ = moved(99)
    expected = [array.tobytes() for array in own(other, 1).values()]
    assert [array.tobytes() for array in own(theirs, 1).values()] == expected
    assert shared_arrays(theirs, their_optimizer).keys() == shared_arrays(fresh, again).keys()


def test_nothing_in_it_is_pickled_and_numpy_reads_it(run: CheckpointedRun) -> None:
    model, optimizer = moved(1)
    path = run.save(3, model, optimizer)
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        assert names[-1] == "head.json"
        assert all(name.endswith(".npy") for name in names[:-1])
        assert all(archive.read(name)[:8] == b"\x93NUMPY\x01\x00" for name in names[:-1])
    with np.load(path, allow_pickle=False) as archive:
        weights = archive["parameters/reduce/conv/W"]
    assert weights.dtype == np.float32


def test_only_the_newest_stay(make_run: Callable[..., CheckpointedRun]) -> None:
    run = make_run(kept=3)
    model, optimizer = moved(1)
    for step in (1, 2, 30, 4000, 50000):
        run.save(step, model, optimizer)
    found = [path.name for path in checkpoints_in(run.files.checkpoints)]
    assert found == ["step-000050000.npz", "step-000004000.npz", "step-000000030.npz"]
    assert len(list(run.files.checkpoints.iterdir())) == 3


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def cut_to_nothing(path: Path) -> None:
    path.write_bytes(b"")


def flip_in_an_array(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[data.index(b"\x93NUMPY") + 140] ^= 1
    path.write_bytes(data)


def swap_two_arrays(path: Path) -> None:
    """Each entry is whole by zip's own checksum."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    names = sorted(name for name in entries if name.startswith("optimizer/"))
    same = [n for n in names if len(entries[n]) == len(entries[names[0]])]
    entries[same[0]], entries[same[1]] = entries[same[1]], entries[same[0]]
    rewrite(path, entries)


def claim_another_compression(path: Path) -> None:
    """One flipped bit in the directory at the end."""
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 10] ^= 0x0E
    path.write_bytes(data)


def drop_an_array(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    del entries[min(entries.keys() - {"head.json"})]
    rewrite(path, entries)


def lose_the_head(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    del entries["head.json"]
    rewrite(path, entries)


def newer_version(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    head = json.loads(entries["head.json"])
    entries["head.json"] = json.dumps({**head, "version": "2.0"}).encode()
    rewrite(path, entries)


DAMAGES = [
    (cut, "is cut off or no checkpoint"),
    (cut_to_nothing, "is cut off or no checkpoint"),
    (flip_in_an_array, "optimizer/expand/conv/W/direction.npy cannot be read"),
    (claim_another_compression, "optimizer/expand/conv/W/direction.npy cannot be read"),
    (swap_two_arrays, "optimizer/expand/conv/W/direction.npy was altered"),
    (drop_an_array, "optimizer/expand/conv/W/direction.npy is missing"),
    (lose_the_head, "head.json cannot be read"),
    (newer_version, "head.json is not one of this version"),
]


@pytest.mark.parametrize(("harm", "problem"), DAMAGES)
def test_damaged_newest_falls_back_and_says_so(
    run: CheckpointedRun, harm: Any, problem: str
) -> None:
    model, optimizer = moved(1)
    older = run.save(5, model, optimizer)
    expected = values(model, optimizer)
    newer = run.save(9, *moved(2))
    harm(newer)
    assert damage(newer) == problem
    fresh, again = moved(3)
    found = run.checkpoints(0, fresh, again).resume()
    assert found is not None
    assert (found.path, found.head.step) == (older, 5)
    assert values(fresh, again) == expected
    assert found.notes == (
        f"checkpoint step-000000009.npz: {problem}; it is kept as "
        "step-000000009.npz.damaged, the run goes on from step-000000005.npz",
    )
    assert not newer.exists()
    # The next checkpoints of the run do not take the damaged one for their newest.
    run.save(7, model, optimizer)
    assert [path.name for path in checkpoints_in(run.files.checkpoints)] == [
        "step-000000007.npz",
        "step-000000005.npz",
    ]


def test_a_cut_trail_or_log_makes_a_checkpoint_useless(run: CheckpointedRun) -> None:
    model, optimizer = moved(1)
    run.save(5, model, optimizer)
    at_five = run.files.trail_of(1).stat().st_size
    run.save(9, model, optimizer)
    at_nine = run.files.trail_of(1).stat().st_size
    run.files.trail_of(1).write_bytes(run.files.trail_of(1).read_bytes()[: at_nine - 1])
    found = newest_good(run.files, run.manifest, names_of(model, optimizer))
    assert found is not None
    assert found.head.step == 5
    assert found.notes[0].startswith(
        "checkpoint step-000000009.npz: results/trail/rank-00001.jsonl does not begin with the "
        f"{at_nine} bytes it had; it is kept as"
    )
    log = run.files.log.read_bytes()
    run.files.log.write_bytes(b"x" + log[1:])
    with pytest.raises(TrainerError) as caught:
        newest_good(run.files, run.manifest, names_of(model, optimizer))
    length = found.head.log.length
    assert str(caught.value) == (
        f"{run.files.checkpoints}: no checkpoint can be used: step-000000005.npz: "
        f"results/log.jsonl does not begin with the {length} bytes it had\n"
        "-> restore one from a copy, or remove the folder to begin with the first step"
    )
    assert at_five < at_nine


def test_when_none_is_good_nothing_is_touched(run: CheckpointedRun) -> None:
    model, optimizer = moved(1)
    for step in (5, 9):
        cut(run.save(step, model, optimizer))
    before = {path: path.read_bytes() for path in run.files.checkpoints.iterdir()}
    with pytest.raises(TrainerError) as caught:
        run.checkpoints(0, model, optimizer).resume()
    assert caught.value.message == (
        f"{run.files.checkpoints}: no checkpoint can be used: "
        "step-000000009.npz: is cut off or no checkpoint; "
        "step-000000005.npz: is cut off or no checkpoint"
    )
    assert {path: path.read_bytes() for path in run.files.checkpoints.iterdir()} == before


@pytest.mark.parametrize(
    ("training", "world", "problem"),
    [
        ({"seed": 8}, {}, "was made by a run of another identity"),
        ({}, {"ranks": 4}, "was made by 2 ranks, the run has 4"),
        ({"epochs": 3}, {}, ""),
    ],
)
def test_whose_checkpoint_it_is(
    run: CheckpointedRun, training: Dict[str, Any], world: Dict[str, int], problem: str
) -> None:
    model, optimizer = moved(1)
    run.save(5, model, optimizer)
    values = run.manifest.model_dump(mode="json")
    values["identity"]["training"].update(training)
    values["identity"]["world"].update(world)
    other = schema.Manifest.model_validate(values)
    if not problem:
        assert newest_good(run.files, other, names_of(model, optimizer)) is not None
        return
    with pytest.raises(TrainerError) as caught:
        newest_good(run.files, other, names_of(model, optimizer))
    assert caught.value.message == (
        f"{run.files.checkpoints}: no checkpoint can be used: step-000000005.npz: {problem}"
    )


def test_which_code_counts(run: CheckpointedRun) -> None:
    """All of the identity's; of an old one, which has the whole snapshot, what counted then."""
    old = ("trainer/", "manifests/schema.py")

    def digest(name: str, counted: Optional[Tuple[str, ...]] = None) -> str:
        values = run.manifest.identity.model_dump(mode="json")
        values["code"]["files"] = {name: {"sha256": "1" * 64, "size": 1}}
        return steps_digest(schema.Identity.model_validate(values), counted)

    names = ("README.md", "config.yaml", "trainer/loop.py", "manifests/schema.py")
    assert len({digest(name) for name in names}) == 4
    assert len({digest(name, old) for name in names}) == 3
    assert digest("README.md", old) == digest("config.yaml", old)


def test_another_network_does_not_fit(run: CheckpointedRun) -> None:
    run.save(5, *moved(1))
    model = Bottleneck(4, 2, 2)
    optimizer = OPTIMIZERS["momentum_sgd"](model, SETTINGS)
    with pytest.raises(TrainerError) as caught:
        newest_good(run.files, run.manifest, names_of(model, optimizer))
    assert "step-000000005.npz: optimizer/expand/conv/W/" in caught.value.message
    wider = Bottleneck(8, 2, 1)
    path = checkpoints_in(run.files.checkpoints)[0]
    with pytest.raises(Damaged, match=r"^optimizer/.* is float32\[.*\], the run has float32\["):
        fill_arrays(path, shared_arrays(wider, OPTIMIZERS["rmsprop_warmup"](wider, SETTINGS)))


def test_what_a_killed_run_was_writing_is_swept(run: CheckpointedRun) -> None:
    model, optimizer = moved(1)
    path = run.save(5, model, optimizer)
    left = path.with_name(".step-000000006.npz.abc123")
    left.write_bytes(b"half")
    assert run.checkpoints(0, model, optimizer).resume() is not None
    assert [entry.name for entry in run.files.checkpoints.iterdir()] == [path.name]


def test_a_full_disk_leaves_no_checkpoint_and_is_said(
    run: CheckpointedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, optimizer = moved(1)
    run.save(5, model, optimizer)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    monkeypatch.setattr(JsonLines, "settled", lambda lines: Prefix(length=0, sha256=""))
    with pytest.raises(TrainerError) as caught:
        run.save(9, model, optimizer)
    target = run.files.checkpoints / "step-000000009.npz"
    assert caught.value.message == f"{target} cannot be written: No space left on device"
    assert [path.name for path in run.files.checkpoints.iterdir()] == ["step-000000005.npz"]
    # A run that need not stop goes on without it.
    run.save(9, model, optimizer, needed=False)
    assert run.problem == f"{target} cannot be written: No space left on device"
    assert [path.name for path in run.files.checkpoints.iterdir()] == ["step-000000005.npz"]


def test_the_head_tells_how_often_the_run_was_resumed(run: CheckpointedRun) -> None:
    model, optimizer = moved(1)
    run.save(5, model, optimizer)
    checkpoints = run.checkpoints(0, model, optimizer)
    checkpoints.resume()
    assert checkpoints.resumed_at == [5]
    assert read_head(checkpoints_in(run.files.checkpoints)[0]).resumed_at == []
