"""Some steps of a run computed again alone: each stretch has the digests that the whole run has."""

from __future__ import annotations

import json
import shutil
from typing import Any, Dict

import pytest

from manifests.datasets.step_images import samples_of_steps
from manifests.record.checkpoint import read_head
from manifests.record.checkpoint_names import checkpoint_name, checkpoints_in, step_of
from manifests.record.outcome import Result, TrailRecord
from manifests.record.run_files import RunFiles
from manifests.record.schema import Manifest
from manifests.record.states import read_states, root_problems, state_digest
from tests.trainer.conftest import Case, case_maker

pytestmark = [pytest.mark.mpi, pytest.mark.slow]

#: 10 samples, 2 ranks of 2: 13 steps; the states lie within epochs and at the end of one.
CHANGES: Dict[str, Any] = {"epochs": 5, "optimizer": {"name": "adam", "lr": 0.001}}
STEPS, ARCHIVED = 13, [3, 6, 9]


def result_of(files: RunFiles) -> Result:
    return Result.model_validate_json(files.result.read_bytes())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Case:
    case = case_maker(tmp_path_factory.mktemp("whole"))("whole", **CHANGES)
    case.manifest["circumstance"]["checkpointing"] = {"archive": 3, "interval": 5, "kept": 1}
    case.seal()
    done = case.launch()
    assert done.returncode == 0, done.stderr
    return case


def slice_of(whole: Case, begin: int, end: int, make: Any, **placement: Any) -> Case:
    case: Case = make(f"steps {begin} to {end}", **CHANGES)
    circumstance = case.manifest["circumstance"]
    circumstance["slice"] = {"begin": begin, "after": begin, "end": end}
    circumstance["placement"].update(placement)
    case.seal()
    if begin:
        case.files.checkpoints.mkdir(parents=True)
        name = checkpoint_name(begin)
        shutil.copyfile(whole.files.checkpoints / name, case.files.checkpoints / name)
    return case


def test_the_states_of_the_plan_and_the_newest_are_kept_and_recorded(whole: Case) -> None:
    kept = sorted({*ARCHIVED, 10})
    found = checkpoints_in(whole.files.checkpoints)[::-1]
    assert [step_of(path) for path in found] == kept
    digests = {read_head(path).step: state_digest(read_head(path)) for path in found}
    assert read_states(whole.files.states) == digests
    result = result_of(whole.files)
    assert result.states is not None
    assert [one.step for one in result.states] == [*kept, STEPS]
    assert {one.step: one.state for one in result.states[:-1]} == digests
    assert root_problems(result, 2) == []


@pytest.mark.parametrize(
    ("begin", "end", "processes"),
    [
        pytest.param(0, 3, 2, marks=pytest.mark.long),
        (6, 9, 1),
        pytest.param(10, 13, 2, marks=pytest.mark.long),
    ],
)
def test_a_slice_has_the_digests_of_its_stretch(
    whole: Case, make_case: Any, begin: int, end: int, processes: int
) -> None:
    case = slice_of(whole, begin, end, make_case, processes=processes)
    # The images of other steps are not needed, nor before the last step those of the validation.
    batches = [
        json.loads(line)["samples"]
        for line in whole.files.trail_of(0).read_text().splitlines()
        if begin < json.loads(line)["step"] <= end
    ]
    manifest = Manifest.model_validate_json(whole.files.manifest.read_bytes())
    trail = [
        [TrailRecord.model_validate_json(line) for line in data.splitlines()]
        for data in (whole.files.trail_of(rank).read_bytes() for rank in (0, 1))
    ]
    needed = samples_of_steps(manifest.identity, trail, begin, end)
    assert needed is not None
    for number, name in enumerate(case.train):
        if number not in needed:
            (case.train_root / name).unlink()
    if end < STEPS:
        shutil.rmtree(case.val_root)
        case.val_root.mkdir()
    done = case.launch(processes)
    assert done.returncode == 0, done.stderr
    found, expected = result_of(case.files), result_of(whole.files)
    assert expected.states is not None
    assert found.states == [one for one in expected.states if one.step == end]
    assert (found.steps, found.root) == (end, None)
    lines = [json.loads(line) for line in case.files.trail_of(0).read_text().splitlines()]
    assert [line["samples"] for line in lines if line["step"]] == batches
    if end == STEPS:
        assert found.digests.model == expected.digests.model
        assert found.digests.parameters == expected.digests.parameters
    else:
        assert found.metrics == {}


def test_a_slice_without_its_state_is_not_another_slice(whole: Case, make_case: Any) -> None:
    case = slice_of(whole, 6, 9, make_case)
    shutil.rmtree(case.files.checkpoints)
    done = case.launch()
    assert done.returncode == 2
    failure = json.loads(case.files.failure.read_text())
    assert (failure["message"], failure["next_step"]) == (
        "the state after step 6, with which this slice begins, is not there",
        "plan the slice again: bundle.py rerun RUN --from-step S --to-step T",
    )
    assert not case.files.result.exists()


def test_a_slice_does_not_begin_with_another_state_than_the_recorded_one(
    whole: Case, make_case: Any
) -> None:
    case = slice_of(whole, 6, 9, make_case)
    record = json.loads(whole.files.states.read_text())
    recorded = next(one for one in record["states"] if one["step"] == 6)
    found, recorded["state"] = recorded["state"], "0" * 64
    case.files.states.write_text(json.dumps(record))
    done = case.launch()
    assert done.returncode == 2
    assert json.loads(case.files.failure.read_text())["message"] == (
        f"{case.files.checkpoints}: no checkpoint can be used: step-000000006.npz: was altered: "
        f"its state has the digest {found}, expected {'0' * 64}"
    )
