"""The host knows which samples the trainer uses at a step, and does not trust itself in that."""

from __future__ import annotations

from typing import List

import pytest

from manifests.datasets.step_images import batch, samples_of_steps
from manifests.record.outcome import TrailRecord
from manifests.record.schema import Identity
from tests.records import identity_values
from trainer.order import SampleOrder


def identity(samples: int, batchsize: int, ranks: int, seed: int = 3) -> Identity:
    values = identity_values()
    values["training"].update(batchsize=batchsize, epochs=4, seed=seed)
    values["data"]["train"]["samples"] = samples
    values["world"]["ranks"] = ranks
    return Identity.model_validate(values)


CASES = [(10, 2, 2), (7, 3, 2), (5, 4, 3), (64, 8, 1), (3, 7, 2)]


@pytest.mark.parametrize(("samples", "batchsize", "ranks"), CASES)
def test_batches_are_those_of_the_trainer(samples: int, batchsize: int, ranks: int) -> None:
    made = identity(samples, batchsize, ranks)
    order = SampleOrder(3, samples, batchsize, ranks, 4)
    for step in range(order.steps):
        for rank in range(ranks):
            expected = [slot.sample for slot in order.batch(step, rank)]
            assert batch(made, step + 1, rank).tolist() == expected


def trail(made: Identity, steps: int) -> List[List[TrailRecord]]:
    from hashlib import sha256

    return [
        [
            TrailRecord(step=step, samples=sha256(batch(made, step, rank).tobytes()).hexdigest())
            for step in range(1, steps + 1)
        ]
        for rank in range(made.world.ranks)
    ]


def test_samples_of_steps_are_those_of_all_ranks() -> None:
    made = identity(10, 2, 2)
    order = SampleOrder(3, 10, 2, 2, 4)
    expected = {
        slot.sample for step in (2, 3) for rank in (0, 1) for slot in order.batch(step, rank)
    }
    assert samples_of_steps(made, trail(made, 8), 2, 4) == expected
    assert samples_of_steps(made, trail(made, 8), 0, 8) == set(range(10))


def test_another_order_is_noticed() -> None:
    made, other = identity(10, 2, 2), identity(10, 2, 2, seed=4)
    assert samples_of_steps(made, trail(other, 8), 2, 4) is None
