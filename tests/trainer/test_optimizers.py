"""Update rules and schedules against references in float64."""

from __future__ import annotations

import chainer
import numpy as np
import pytest

from manifests import schema
from trainer.optimizers import OPTIMIZERS
from trainer.schedules import learning_rate


class Small(chainer.Chain):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        with self.init_scope():
            self.W = chainer.Parameter(np.float32(0), (3, 4))
            self.b = chainer.Parameter(np.float32(0), (3,))


def settings(**changes: float) -> schema.Optimizer:
    return schema.Optimizer(name="momentum_sgd", lr=0.1, **changes)


def test_momentum_sgd() -> None:
    generator = np.random.Generator(np.random.Philox(0))
    model = Small()
    for parameter in model.params():
        parameter.array[...] = generator.standard_normal(parameter.shape)
    wanted = {name: p.array.astype(np.float64) for name, p in model.namedparams()}
    velocity = {name: np.zeros_like(array) for name, array in wanted.items()}
    optimizer = OPTIMIZERS["momentum_sgd"](model, settings(momentum=0.9, weight_decay=0.01))
    for rate in (0.1, 0.1, 0.05, 0.01):
        for name, parameter in model.namedparams():
            parameter.grad = generator.standard_normal(parameter.shape).astype(np.float32)
            gradient = parameter.grad.astype(np.float64) + 0.01 * wanted[name]
            velocity[name] = 0.9 * velocity[name] - rate * gradient
            wanted[name] += velocity[name]
        optimizer.update(rate)
    for name, parameter in model.namedparams():
        assert parameter.dtype == np.float32
        np.testing.assert_allclose(parameter.array, wanted[name], rtol=1e-5, atol=1e-6)


def test_momentum_sgd_is_that_of_chainer() -> None:
    generator = np.random.Generator(np.random.Philox(1))
    ours, theirs = Small(), Small()
    for one, other in zip(ours.params(), theirs.params()):
        one.array[...] = other.array[...] = generator.standard_normal(one.shape)
    reference = chainer.optimizers.MomentumSGD(lr=0.1, momentum=0.9).setup(theirs)
    reference.add_hook(chainer.optimizer_hooks.WeightDecay(0.01))
    optimizer = OPTIMIZERS["momentum_sgd"](ours, settings(momentum=0.9, weight_decay=0.01))
    for _ in range(3):
        for one, other in zip(ours.params(), theirs.params()):
            one.grad = generator.standard_normal(one.shape).astype(np.float32)
            other.grad = one.grad.copy()
        optimizer.update(0.1)
        reference.update()
    for one, other in zip(ours.params(), theirs.params()):
        np.testing.assert_allclose(one.array, other.array, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("epoch", "rate"),
    [(0.0, 0.0), (1.0, 0.05), (2.0, 0.1), (9.99, 0.1), (10.0, 0.05), (25.0, 0.025)],
)
def test_step_decay_after_linear_warmup(epoch: float, rate: float) -> None:
    rule = settings(lr_decay_factor=0.5, lr_decay_epochs=10, warmup_epochs=2)
    assert learning_rate(rule, epoch) == pytest.approx(rate, rel=1e-12)


def test_warmup_may_outlast_a_decay() -> None:
    rule = settings(lr_decay_factor=0.5, lr_decay_epochs=1, warmup_epochs=4)
    assert learning_rate(rule, 2.0) == pytest.approx(0.1 * 0.25 * 0.5, rel=1e-12)
