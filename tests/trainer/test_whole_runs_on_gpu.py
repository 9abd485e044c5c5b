"""Whole runs of one rank on a GPU: repeated, and gone on from a checkpoint. Never run so far."""

from __future__ import annotations

from typing import Any, Tuple

import pytest

from manifests.config.determinism import determinism_for
from manifests.record.checkpoint import checkpoints_in
from manifests.record.outcome import Result
from manifests.record.schema import GpuPromise

pytestmark = [pytest.mark.gpu, pytest.mark.mpi]


def run_on_gpu(case: Any) -> Tuple[bytes, bytes]:
    """The trail and the model file."""
    done = case.launch(1)
    assert done.returncode == 0, done.stderr
    return case.files.trail_of(0).read_bytes(), case.files.model.read_bytes()


def one_rank(case: Any) -> Any:
    """With a checkpoint after every second step; any driver and any GPU will do."""
    import cupy

    facts = cupy.cuda.runtime.getDeviceProperties(0)
    promise = GpuPromise(driver="1.0", capabilities=[f"{facts['major']}.{facts['minor']}"])
    case.manifest["promises"]["gpu"] = promise.model_dump()
    knobs = case.manifest["identity"]["determinism"]["environment"]
    case.manifest["identity"]["determinism"]["environment"] = {
        **determinism_for("cuda12").environment,
        **knobs,
    }
    case.manifest["identity"]["world"]["ranks"] = 1
    case.manifest["circumstance"]["checkpointing"] = {"interval": 2, "kept": 9}
    case.seal()
    return case


@pytest.mark.parametrize("precision", ["float32", "mixed"])
def test_a_run_repeats_and_goes_on_bit_for_bit(make_case: Any, precision: str) -> None:
    first = one_rank(make_case("first", precision=precision))
    expected = run_on_gpu(first)
    assert run_on_gpu(one_rank(make_case("again", precision=precision))) == expected
    # As a run that was killed after its first checkpoint leaves them.
    files = first.files
    newest, *_, oldest = checkpoints_in(files.checkpoints)
    assert newest != oldest
    for path in {*files.checkpoints.iterdir()} - {oldest}:
        path.unlink()
    for path in (files.result, files.done, files.model):
        path.unlink(missing_ok=True)
    assert run_on_gpu(first) == expected
    resumed = Result.model_validate_json(files.result.read_bytes()).observed.resumed_at
    assert resumed == [2]
