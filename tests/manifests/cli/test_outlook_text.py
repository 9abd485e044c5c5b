"""The summary of a dry run, from a plan's manifest."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from manifests.cli.outlook_text import outlook_lines
from manifests.flows import outlook as outlook_module
from manifests.flows.outlook import Outlook, room_of, room_or_none
from manifests.record.run_files import RunFiles
from manifests.record.schema import Resumed, Slice
from manifests.rundir.outline import outline_of


def test_lines_are_80_letters_but_for_paths() -> None:
    outlook = Outlook(
        where="site slurm, node type gpu, 64 ranks, one process each, on 16 nodes, group abcdefgh",
        what="resnet50, 1000 classes", steps=450000, walltime="24:00:00", room=3 * 10**9,
        free=10**9, seconds=7384.0, like="/runs/" + "x" * 100,
    )  # fmt: skip
    files = RunFiles(Path("/runs/a"))
    assert outlook_lines(outlook, files) == [
        "where      site slurm, node type gpu, 64 ranks, one process each, on 16 nodes,",
        "           group abcdefgh",
        "           /runs/a",
        "what       resnet50, 1000 classes",
        "how long   450000 steps, walltime 24:00:00, about 2h03m at the speed of",
        f"           {outlook.like}",
        "room       about 3.0 GB, 1.0 GB free: not enough",
    ]
    goes_on = Outlook("here", "nin", 288, None, None, None, own=144)
    assert outlook_lines(goes_on, files)[-2] == "how long   144 of 288 steps"
    bare = Outlook("here", "nin", 3, None, None, None)
    assert outlook_lines(bare, files)[-2:] == ["how long   3 steps", "room       not known"]


def test_the_room_of_a_run(manifest: Any) -> None:
    small = manifest()
    more = manifest(epochs=300, optimizer={"name": "adam", "lr": 0.1})
    assert 0 < room_of(small) < room_of(more)
    own = manifest()
    training = own.identity.training.model_copy(update={"arch": "my_own"})
    identity = own.identity.model_copy(update={"training": training})
    assert room_or_none(own.model_copy(update={"identity": identity})) is None


def test_only_the_steps_that_are_left_take_time(
    manifest: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a run that goes on from another's checkpoint, and of a slice. A step took 10 s."""
    like = tmp_path / "like"
    RunFiles(like).results.mkdir(parents=True)
    RunFiles(like).log.write_text('{"iteration": 2, "elapsed_time": 20.0}\n')
    monkeypatch.setattr(outlook_module, "known_outs", lambda _cache: [])
    monkeypatch.setattr(outlook_module, "known_runs", lambda _outs: [like])
    monkeypatch.setattr(outlook_module, "_is_like", lambda *_: True)
    whole = manifest()
    steps = whole.identity.steps
    resumed = Resumed(run="/r", checkpoint="step-000000001.npz", sha256="0" * 64, step=1)
    circumstance = whole.circumstance.model_copy(update={"resumed": resumed})
    later = whole.model_copy(update={"circumstance": circumstance})
    part = Slice(after=1, begin=1, end=2)
    circumstance = whole.circumstance.model_copy(update={"slice": part})
    sliced = whole.model_copy(update={"circumstance": circumstance})
    host = SimpleNamespace(cache=None)
    found = [outlook_module._measured(wanted, host) for wanted in (whole, later, sliced)]  # type: ignore[arg-type]
    assert found == [(10.0 * steps, str(like)), (10.0 * (steps - 1), str(like)), (10.0, str(like))]


def test_a_slice_is_done_at_its_end(manifest: Any) -> None:
    whole = manifest()
    part = Slice(after=1, begin=1, end=2)
    circumstance = whole.circumstance.model_copy(update={"slice": part})
    assert outline_of(whole).steps == whole.identity.steps > 2
    assert outline_of(whole.model_copy(update={"circumstance": circumstance})).steps == 2
