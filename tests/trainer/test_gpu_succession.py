"""What a run that goes on in another job says of the GPUs of both."""

from __future__ import annotations

from typing import Any

import pytest

from manifests.record.outcome import RankGpu, SeenGpus
from manifests.record.schema import GpuClass
from trainer.gpu.succession import taken_over
from trainer.trouble import CannotPromise

V100 = GpuClass(model="Tesla V100", capability="7.0", multiprocessors=80)
T4 = GpuClass(model="T4", capability="7.5", multiprocessors=40)


def seen(*kinds: GpuClass, **nccl: str) -> SeenGpus:
    ranks = [
        RankGpu(rank=rank, host="n1", device=rank, bus=f"{rank}", kind=kind, memory=1)
        for rank, kind in enumerate(kinds)
    ]
    return SeenGpus(driver="535.1", ranks=ranks, nccl=nccl)


def test_the_same_is_said_once() -> None:
    before = seen(V100, V100, rings="0 1")
    now = before.model_copy(update={"driver": "550.2"})
    assert taken_over(before, now, 7) == now


@pytest.mark.parametrize("before", [None, seen(V100)])
def test_runs_without_gpus_and_old_checkpoints_go_on(before: Any) -> None:
    assert taken_over(before, None, 7) is None
    assert taken_over(None, seen(V100), 7) == seen(V100)


def test_another_class_cannot_go_on() -> None:
    with pytest.raises(CannotPromise) as caught:
        taken_over(seen(V100, V100), seen(V100, T4), 7)
    assert str(caught.value) == (
        "rank 1 on n1 has a T4 (compute capability 7.5, 40 multiprocessors); up to step 7 the run "
        "had a Tesla V100 (compute capability 7.0, 80 multiprocessors) there\n"
        "-> resume the run on such GPUs, or submit it again on these"
    )


def test_other_rings_are_kept_through_all_jobs() -> None:
    first = seen(V100, rings="0 1", version="2.19.3")
    second = taken_over(first, seen(V100, rings="1 0", version="2.19.3"), 7)
    assert second is not None
    assert second.nccl == {"rings": "1 0", "version": "2.19.3", "rings until step 7": "0 1"}
    third = taken_over(second, seen(V100, version="2.19.3"), 9)
    assert third is not None
    assert third.nccl == {
        "version": "2.19.3",
        "rings until step 7": "0 1",
        "rings until step 9": "1 0",
    }
    fourth = taken_over(third, seen(V100, rings="0 1", version="2.19.3"), 11)
    assert fourth is not None
    assert fourth.nccl["rings until step 11"] == "not reported"
