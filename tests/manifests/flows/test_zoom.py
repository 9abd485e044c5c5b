"""Which step is run again, and with whose parts; what cannot be: whole messages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from container.progress import Silent
from container.trouble import Trouble
from manifests.flows.cannot_run import CannotRun
from manifests.flows.rerun import RerunRequest
from manifests.flows.zoom import (
    changed_images,
    diverged_pair,
    plan_step,
    read_step_run,
    sides_of,
    zoomed_step,
)
from manifests.host.context import read_host_context
from manifests.record.run_files import RunFiles
from manifests.record.schema import Manifest
from manifests.verdict.comparison import Comparison, StepDifference
from tests.records import manifest_values

PROJECT = Path(__file__).resolve().parents[3]


def run_in(folder: Path, **changes: Any) -> RunFiles:
    folder.mkdir(parents=True)
    values = manifest_values()
    values["identity"]["training"].update(changes)
    files = RunFiles(folder)
    files.manifest.write_text(json.dumps(Manifest.model_validate(values).as_written()))
    return files


def compared(step: int | None) -> Comparison:
    first = None if step is None else StepDifference(step=step, items=[])
    return Comparison(verdict="diverged", a="/out/a", b="/out/b", first_difference=first)


def test_the_step_that_is_run_again() -> None:
    assert [zoomed_step(compared(step)) for step in (0, 1, 7)] == [1, 1, 7]
    with pytest.raises(Trouble) as caught:
        zoomed_step(compared(None))
    assert str(caught.value) == (
        "--zoom: /out/a and /out/b differ in no step that both recorded\n"
        "-> see what differs: python bundle.py compare /out/a /out/b"
    )


def test_both_sides_where_the_parts_are_others(tmp_path: Path) -> None:
    a, b, c = run_in(tmp_path / "a"), run_in(tmp_path / "b"), run_in(tmp_path / "c", seed=1)
    assert sides_of(a, b) == [("a", a)]
    assert sides_of(a, c) == [("a", a), ("b", c)]


def test_a_trainer_from_before(tmp_path: Path) -> None:
    run = run_in(tmp_path / "a")
    with pytest.raises(CannotRun) as caught:
        plan_step(run, 3, read_host_context(PROJECT, Silent()), RerunRequest())
    assert str(caught.value) == (
        "the trainer in its snapshot is from before steps were traced (no trainer/step_trace.py)\n"
        "-> compare the trails: python bundle.py compare A B"
    )
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "a", run.manifest]


def test_a_run_that_is_no_rerun_is_no_pair(tmp_path: Path) -> None:
    run = run_in(tmp_path / "a")
    run.done.touch()
    assert diverged_pair(run.root) is None


@pytest.mark.parametrize("text", ["", "{}", '{"step": 1, "rank": 0, "host": "x"}\n{"phase": 1}\n'])
def test_a_trace_that_is_not_whole(tmp_path: Path, text: str) -> None:
    run = run_in(tmp_path / "a")
    if text:
        run.trace.mkdir(parents=True)
        run.trace_of(0).write_text(text)
    with pytest.raises(Trouble) as caught:
        read_step_run(run)
    assert str(caught.value) == (
        f"{run.root}: the step left no whole trace\n-> see why: python bundle.py show {run.root}"
    )


def test_images_that_are_others(tmp_path: Path) -> None:
    old, new = tmp_path / "old.tsv", tmp_path / "new.tsv"
    lines = [f"{digit * 64}\t0\t{digit}.jpg\n" for digit in "123"]
    old.write_text("".join(lines[:2]))
    new.write_text(lines[0] + f"{'4' * 64}\t0\tb.jpg\n" + lines[2])
    assert changed_images(old, new) == {1: "b.jpg", 2: "3.jpg"}
    new.write_text("no table\n")
    with pytest.raises(Trouble) as caught:
        changed_images(old, new)
    assert caught.value.problems == [f"{new}: cannot be read: is not `<sha256>\\t<label>\\t<path>`"]


def test_a_rerun_whose_original_is_gone(tmp_path: Path) -> None:
    rerun = run_in(tmp_path / "b")
    values = json.loads(rerun.manifest.read_text())
    values["circumstance"]["rerun_of"] = str(tmp_path / "a")
    rerun.manifest.write_text(json.dumps(values))
    rerun.done.touch()
    with pytest.raises(Trouble) as caught:
        diverged_pair(rerun.root)
    assert str(caught.value) == (
        f"--zoom: {tmp_path / 'a'}, which {rerun.root} repeats, is not there\n"
        "-> put a copy of that run beside its rerun"
    )
