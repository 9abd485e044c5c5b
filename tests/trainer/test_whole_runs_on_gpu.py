"""Whole runs on a GPU: repeated, and gone on from a checkpoint. Never run so far.

In the image where it has an mpirun, else from the host: mpirun there, each rank in the image.
"""

from __future__ import annotations

from typing import Any, List, Tuple

import pytest

from manifests.config.determinism import determinism_for
from manifests.record.checkpoint_names import checkpoints_in
from manifests.record.outcome import Failure, Result
from manifests.record.schema import GpuPromise
from tests.trainer.image import capabilities

pytestmark = [pytest.mark.gpu, pytest.mark.mpi]


def run_on_gpu(case: Any, ranks: int = 1) -> Tuple[List[bytes], bytes]:
    """The trails and the model file."""
    done = case.launch(ranks)
    assert done.returncode == 0, done.stderr
    trails = [case.files.trail_of(rank).read_bytes() for rank in range(ranks)]
    return trails, case.files.model.read_bytes()


def on_gpu(case: Any, ranks: int = 1, *, share_gpus: bool = False) -> Any:
    """With a checkpoint after every second step; any driver and any GPU will do."""
    promise = GpuPromise(driver="1.0", capabilities=sorted(set(capabilities())))
    case.manifest["promises"]["gpu"] = promise.model_dump()
    knobs = case.manifest["identity"]["determinism"]["environment"]
    case.manifest["identity"]["determinism"]["environment"] = {
        **determinism_for("cuda12").environment,
        **knobs,
    }
    case.manifest["identity"]["world"]["ranks"] = ranks
    case.manifest["circumstance"]["checkpointing"] = {"interval": 2, "kept": 9}
    case.manifest["circumstance"]["placement"]["share_gpus"] = share_gpus
    case.seal()
    return case


@pytest.mark.parametrize("precision", ["float32", "mixed"])
def test_a_run_repeats_and_goes_on_bit_for_bit(make_case: Any, precision: str) -> None:
    first = on_gpu(make_case("first", precision=precision))
    expected = run_on_gpu(first)
    assert run_on_gpu(on_gpu(make_case("again", precision=precision))) == expected
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


def more_ranks_than_gpus() -> int:
    return len(capabilities()) + 1


@pytest.mark.parametrize("communicator", ["naive", "flat"])
def test_ranks_that_share_a_gpu_repeat(make_case: Any, communicator: str) -> None:
    ranks = more_ranks_than_gpus()
    found = [
        run_on_gpu(
            on_gpu(make_case(name, communicator=communicator), ranks, share_gpus=True), ranks
        )
        for name in ("first", "again")
    ]
    assert found[0] == found[1]


def test_ranks_do_not_share_a_gpu_unasked(make_case: Any) -> None:
    ranks = more_ranks_than_gpus()
    case = on_gpu(make_case(communicator="naive"), ranks)
    assert case.launch(ranks).returncode == 2
    message = Failure.model_validate_json(case.files.failure.read_bytes()).message
    assert "work on the same GPU" in message or f"for its {ranks} ranks" in message
    assert not case.files.model.exists()
