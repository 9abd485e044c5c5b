"""The rule of loss scaling, on NumPy: the arrays of a GPU differ in who computes."""

from __future__ import annotations

from typing import Any, Dict, List

import numpy as np
import pytest

from trainer.loss_scale import FIRST, LARGEST, PATIENCE, LossScale, Scaled, divide
from trainer.trouble import TrainerError


def sound() -> List[Any]:
    return [np.full(3, 65536.0, np.float32), np.ones((2, 2), np.float32)]


def overflowing() -> List[Any]:
    return [np.ones(3, np.float32), np.array([1, np.inf], np.float32)]


class Counting:
    def __init__(self) -> None:
        self.steps: List[int] = []

    def update(self, rate: float, epoch: float, step: int) -> None:
        self.steps.append(step)

    def named_state(self) -> Dict[str, Any]:
        return {"/w/velocity": np.zeros(1, np.float32)}


def test_gradients_are_divided_exactly_and_in_place() -> None:
    scale = LossScale()
    assert scale.factor == FIRST == 65536
    gradients = sound()
    scale.settle(gradients)
    np.testing.assert_array_equal(gradients[0], 1)
    np.testing.assert_array_equal(gradients[1], 2.0**-16)
    assert not scale.overflowed and scale.factor == FIRST


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_any_number_that_is_none_is_found(bad: float) -> None:
    gradients = sound()
    gradients[1][1, 0] = bad
    assert not divide(gradients, np.float32(0.5))
    assert divide(sound(), np.float32(0.5))


def test_an_overflow_leaves_the_step_out_and_halves_the_factor() -> None:
    scale, counting = LossScale(), Counting()
    optimizer = Scaled(counting, scale)
    for step, gradients in enumerate([sound(), overflowing(), sound()], 1):
        scale.settle(gradients)
        optimizer.update(0.1, 0.0, step)
    assert counting.steps == [1, 3]
    assert scale.factor == FIRST / 2


def test_after_many_steps_without_one_the_factor_is_doubled() -> None:
    scale = LossScale()
    small = [np.ones(1, np.float32)]
    for _ in range(PATIENCE - 1):
        scale.settle(small)
    scale.settle(overflowing())
    for _ in range(PATIENCE - 1):
        scale.settle(small)
    assert scale.factor == FIRST / 2
    scale.settle(small)
    assert scale.factor == FIRST
    for _ in range(20 * PATIENCE):
        scale.settle(small)
    assert scale.factor == LARGEST


def test_its_state_is_all_there_is() -> None:
    """Filled into a fresh one from a checkpoint, it goes on as the old one does."""
    old, new = LossScale(), LossScale()
    small = [np.ones(1, np.float32)]
    for gradients in [overflowing(), *([small] * (PATIENCE - 1))]:
        old.settle(gradients)
    state = Scaled(Counting(), new).named_state()
    assert sorted(state) == ["/loss_scale/clean_steps", "/loss_scale/factor", "/w/velocity"]
    for name, array in old.named_state().items():
        state[name][...] = array
    for scale in (old, new):
        assert scale.factor == FIRST / 2
        scale.settle(small)
        assert scale.factor == FIRST


def test_gradients_that_overflow_unscaled_end_the_run() -> None:
    scale = LossScale()
    for _ in range(16):
        scale.settle(overflowing())
    assert scale.factor == 1
    with pytest.raises(TrainerError) as refused:
        scale.settle(overflowing())
    assert str(refused.value) == (
        "the gradients are too large for float16 although the loss is not scaled\n"
        "-> submit a new run with a smaller lr or a longer warm-up, or with precision float32"
    )
