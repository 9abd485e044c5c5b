"""States of a run that were altered, lost, or are another run's: `verify` names each."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, List

import pytest

from container.progress import Silent
from manifests.record.checkpoint import read_head
from manifests.record.run_files import RunFiles
from manifests.record.states import read_states, state_digest, tree_root
from manifests.rundir.records import read_manifest, read_result
from manifests.rundir.verify import verify_run
from manifests.verdict.run_record import load_record
from tests.manifests.run_states import (
    ENTRIES,
    alter_entry,
    edit_result,
    with_states,
    write_state,
)

NAME = "results/checkpoints/step-000000004.npz"


@pytest.fixture
def run(finished_run: RunFiles) -> RunFiles:
    return with_states(finished_run)


def verify(files: RunFiles, tmp_path: Path, **options: Any) -> List[str]:
    image = tmp_path / "image.sif"
    image.write_bytes(b"image")
    return verify_run(files, image_path=lambda _identity: image, progress=Silent(), **options).all


def test_a_run_with_states_verifies(run: RunFiles, tmp_path: Path) -> None:
    assert verify(run, tmp_path) == []
    (run.root / NAME).unlink()  # it was removed to make room
    assert verify(run, tmp_path) == []


@pytest.mark.parametrize("entry", ENTRIES)
def test_an_entry_altered_with_its_digest_is_named(
    run: RunFiles, tmp_path: Path, entry: str
) -> None:
    expected = read_states(run.states)[4]
    found = alter_entry(run.root / NAME, entry, digest_too=True)
    assert verify(run, tmp_path) == [
        f"{NAME}: was altered: its state has the digest {found}, expected {expected}"
    ]


@pytest.mark.parametrize("entry", ENTRIES)
def test_an_entry_altered_alone_is_named(run: RunFiles, tmp_path: Path, entry: str) -> None:
    alter_entry(run.root / NAME, entry, digest_too=False)
    assert verify(run, tmp_path) == [f"{NAME}: {entry} was altered"]


@pytest.mark.parametrize("field", ["loss", "correct", "correct_top5", "samples"])
def test_altered_sums_are_named(run: RunFiles, tmp_path: Path, field: str) -> None:
    manifest, expected = read_manifest(run), read_states(run.states)[4]
    head = read_head(run.root / NAME)
    sums = [head.sums[0], head.sums[1].model_copy(update={field: 7})]
    write_state(run, manifest.identity, 4, sums=sums)
    found = state_digest(head.model_copy(update={"sums": sums}))
    assert verify(run, tmp_path) == [
        f"{NAME}: was altered: its state has the digest {found}, expected {expected}"
    ]


def test_states_of_other_runs_are_named(run: RunFiles, tmp_path: Path) -> None:
    manifest = read_manifest(run)
    write_state(run, manifest.identity, 4, steps_digest="9" * 64)
    write_state(run, manifest.identity, 8, ranks=3)
    write_state(run, manifest.identity, 6)
    assert verify(run, tmp_path) == [
        "results/checkpoints/step-000000008.npz: was made by a run of 3 ranks, this run has 2: "
        "processes may change, ranks may not",
        "results/checkpoints/step-000000006.npz: result.json records no state after step 6",
        f"{NAME}: was made by another run",
    ]


def test_a_state_under_the_name_of_another_step_is_named(run: RunFiles, tmp_path: Path) -> None:
    (run.root / NAME).replace(run.checkpoints / "step-000000008.npz")
    assert verify(run, tmp_path) == [
        "results/checkpoints/step-000000008.npz: has the state after step 4"
    ]


def test_an_altered_record_of_states_is_named(run: RunFiles, tmp_path: Path) -> None:
    raw = json.loads(run.states.read_text())
    expected, raw["states"][0]["state"] = raw["states"][0]["state"], "0" * 64
    run.states.write_text(json.dumps(raw))
    assert verify(run, tmp_path) == [
        f"results/states.json: the state after step 4 is {'0' * 64}, result.json has {expected}"
    ]
    run.states.write_text("{}")
    assert verify(run, tmp_path) == [f"{run.states}: is not a record of states"]


def test_a_state_taken_out_of_the_record_is_named(run: RunFiles, tmp_path: Path) -> None:
    four, eight = (read_states(run.states)[step] for step in (4, 8))
    record = json.loads(run.states.read_text())
    run.states.write_text(json.dumps({**record, "states": record["states"][1:]}))
    problems = [
        f"results/states.json: the state after step {step} is missing, result.json has {state}"
        for step, state in ((4, four), (8, eight))
    ]
    assert verify(run, tmp_path) == problems[:1]
    run.states.unlink()
    assert verify(run, tmp_path) == problems


@pytest.mark.parametrize("gone", [["root"], ["states"], ["states", "root"]])
def test_a_result_without_what_binds_its_states_is_named(
    run: RunFiles, tmp_path: Path, gone: List[str]
) -> None:
    edit_result(run, **dict.fromkeys(gone))
    problems = [f"result.json: {name} is missing: the run's trainer writes it" for name in gone]
    assert verify(run, tmp_path) == problems
    assert load_record(run).altered == [f"{run.root}/{problem}" for problem in problems]


def test_what_is_no_file_is_not_read(run: RunFiles, tmp_path: Path) -> None:
    """A pipe would be waited for, a device such as /dev/zero read until the memory is full."""
    (run.root / NAME).unlink()
    os.mkfifo(run.root / NAME)
    assert verify(run, tmp_path) == [f"{NAME}: is not a regular file"]
    (run.root / NAME).unlink()
    run.states.unlink()
    os.mkfifo(run.states)
    assert verify(run, tmp_path) == [f"{run.states}: is not a record of states"]


def test_states_in_the_result_are_bound_by_the_root(run: RunFiles, tmp_path: Path) -> None:
    result = read_result(run)
    assert result.states is not None
    altered = [result.states[0].model_copy(update={"trail": "0" * 64}), *result.states[1:]]
    edit_result(run, states=altered)
    root = tree_root(result.identity_digest, 2, 12, altered)
    assert verify(run, tmp_path) == [
        f"result.json: states have the root {root}, root says {result.root}",
        f"result.json: the trail up to step 4 has the digest {result.states[0].trail}, "
        f"states says {'0' * 64}",
    ]


def test_of_a_run_that_goes_on_the_noted_states_count(run: RunFiles, tmp_path: Path) -> None:
    run.done.unlink()
    run.result.unlink()
    write_state(run, read_manifest(run).identity, 9)  # its job was killed before it was noted
    assert verify(run, tmp_path, ended=False) == []
    found = alter_entry(run.root / NAME, ENTRIES[1], digest_too=True)
    assert verify(run, tmp_path, ended=False) == [
        f"{NAME}: was altered: its state has the digest {found}, "
        f"expected {read_states(run.states)[4]}"
    ]
