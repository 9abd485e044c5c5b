"""Which rank takes which sample at which step."""

from __future__ import annotations

from math import ceil

import pytest

from trainer.order import SampleOrder, validation_share


@pytest.mark.parametrize(("samples", "batchsize", "ranks"), [(10, 2, 2), (10, 3, 2), (3, 4, 2)])
def test_steps_and_epochs(samples: int, batchsize: int, ranks: int) -> None:
    order = SampleOrder(seed=1, samples=samples, batchsize=batchsize, ranks=ranks, epochs=3)
    assert order.steps == ceil(3 * samples / (batchsize * ranks))
    stream = [slot for s in range(order.steps) for r in range(ranks) for slot in order.batch(s, r)]
    assert stream == [order.at(position) for position in range(len(stream))]
    for epoch in range(3):
        seen = [slot.sample for slot in stream if slot.epoch == epoch]
        assert sorted(seen) == list(range(samples))


def test_stream_is_the_same_for_another_split_into_ranks() -> None:
    one = SampleOrder(seed=1, samples=10, batchsize=6, ranks=1, epochs=2)
    three = SampleOrder(seed=1, samples=10, batchsize=2, ranks=3, epochs=2)
    for step in range(one.steps):
        assert one.batch(step, 0) == [slot for r in range(3) for slot in three.batch(step, r)]


def test_epoch_ends_where_its_last_sample_is_used() -> None:
    order = SampleOrder(seed=1, samples=10, batchsize=2, ranks=2, epochs=2)
    assert [order.ends_epoch(step) for step in range(5)] == [False, False, True, False, True]
    assert [order.epoch_after(step) for step in range(5)] == [0.4, 0.8, 1.2, 1.6, 2.0]
    assert [order.epoch_midway(step) for step in range(3)] == [0.2, 0.6, 1.0]


def test_a_step_longer_than_the_set_ends_an_epoch_each_time() -> None:
    order = SampleOrder(seed=1, samples=3, batchsize=8, ranks=1, epochs=5)
    assert [order.ends_epoch(step) for step in range(order.steps)] == [True, True]
    assert [slot.epoch for slot in order.batch(0, 0)] == [0, 0, 0, 1, 1, 1, 2, 2]


def test_validation_counts_each_sample_once() -> None:
    shares = [list(validation_share(7, rank, 3)) for rank in range(3)]
    assert shares == [[0, 3, 6], [1, 4], [2, 5]]
    assert list(validation_share(1, 2, 3)) == []
