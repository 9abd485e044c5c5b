"""Update rules and schedules against references in float64."""

from __future__ import annotations

from typing import Any, Callable, Dict

import chainer
import numpy as np
import numpy.typing as npt
import pytest

from manifests.record import schema
from trainer.initial import named_arrays
from trainer.optimizers import OPTIMIZERS
from trainer.optimizers.adam import power
from trainer.schedules import learning_rate, sgd_share


class Small(chainer.Chain):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        with self.init_scope():
            self.W = chainer.Parameter(np.float32(0), (3, 4))
            self.b = chainer.Parameter(np.float32(0), (3,))


def settings(**changes: Any) -> schema.Optimizer:
    return schema.Optimizer(**{"name": "momentum_sgd", "lr": 0.1, **changes})


def test_momentum_sgd() -> None:
    generator = np.random.Generator(np.random.Philox(0))
    model = Small()
    for parameter in model.params():
        parameter.array[...] = generator.standard_normal(parameter.shape)
    wanted = {name: p.array.astype(np.float64) for name, p in model.namedparams()}
    velocity = {name: np.zeros_like(array) for name, array in wanted.items()}
    optimizer = OPTIMIZERS["momentum_sgd"](model, settings(momentum=0.9, weight_decay=0.01))
    for step, rate in enumerate((0.1, 0.1, 0.05, 0.01), 1):
        for name, parameter in model.namedparams():
            parameter.grad = generator.standard_normal(parameter.shape).astype(np.float32)
            gradient = parameter.grad.astype(np.float64) + 0.01 * wanted[name]
            velocity[name] = 0.9 * velocity[name] - rate * gradient
            wanted[name] += velocity[name]
        optimizer.update(rate, 0.0, step)
    for name, parameter in model.namedparams():
        assert parameter.dtype == np.float32
        np.testing.assert_allclose(parameter.array, wanted[name], rtol=1e-5, atol=1e-6)


Array = npt.NDArray[np.float64]


class Reference:
    """The update rules in float64, as their papers write them; a state begins with zeros."""

    @staticmethod
    def adam(state: Dict[str, Any], g: Array, rate: float, epoch: float) -> Array:
        t = state["t"] = state["t"] + 1
        state["m"] = 0.9 * state["m"] + (1 - 0.9) * g
        state["v"] = 0.999 * state["v"] + (1 - 0.999) * g**2
        rate *= np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        return np.asarray(-rate * state["m"] / (np.sqrt(state["v"]) + 1e-8))

    @staticmethod
    def rmsprop(state: Dict[str, Any], g: Array, rate: float, epoch: float) -> Array:
        state["m"] = 0.99 * state["m"] + 0.01 * g**2
        return np.asarray(-rate * g / (np.sqrt(state["m"]) + 1e-8))

    @staticmethod
    def rmsprop_warmup(state: Dict[str, Any], g: Array, rate: float, epoch: float) -> Array:
        x = (epoch - 10) / 5
        sgd = 0.5 * np.exp(2 * x) if x < 0 else min(1.0, 0.5 + x)
        rms = (1 - sgd) * 3e-4 / rate
        state["m"] = 0.99 * state["m"] + 0.01 * g**2
        state["v"] = 0.9 * state["v"] - (sgd + rms / (np.sqrt(state["m"]) + 1e-8)) * g
        return np.asarray(rate * state["v"])


@pytest.mark.parametrize("name", ["adam", "rmsprop", "rmsprop_warmup"])
def test_adaptive_rules(name: str) -> None:
    rule: Callable[..., Array] = getattr(Reference, name)
    generator = np.random.Generator(np.random.Philox(2))
    model = Small()
    for parameter in model.params():
        parameter.array[...] = generator.standard_normal(parameter.shape)
    wanted = {key: p.array.astype(np.float64) for key, p in model.namedparams()}
    state = {key: {"m": 0.0, "v": 0.0, "t": 0} for key in wanted}
    optimizer = OPTIMIZERS[name](model, settings(name=name, weight_decay=0.01))
    course = ((0.1, 0), (0.1, 4.5), (0.05, 9.75), (0.05, 11), (0.01, 12.5), (0.5, 80))
    for step, (rate, epoch) in enumerate(course, 1):
        for key, parameter in model.namedparams():
            # Gradients of very different sizes are what these rules are for.
            scale = 10.0 ** generator.integers(-4, 2, parameter.shape)
            drawn = generator.standard_normal(parameter.shape) * scale
            parameter.grad = np.asarray(drawn, np.float32)
            gradient = parameter.grad.astype(np.float64) + 0.01 * wanted[key]
            wanted[key] += rule(state[key], gradient, rate, epoch)
        optimizer.update(rate, epoch, step)
        for key, parameter in model.namedparams():
            assert parameter.dtype == np.float32
            np.testing.assert_allclose(parameter.array, wanted[key], rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(
    ("name", "theirs_class"),
    [
        ("momentum_sgd", chainer.optimizers.MomentumSGD),
        ("adam", chainer.optimizers.Adam),
        ("rmsprop", chainer.optimizers.RMSprop),
    ],
)
def test_rules_are_those_of_chainer(name: str, theirs_class: Any) -> None:
    generator = np.random.Generator(np.random.Philox(1))
    ours, theirs = Small(), Small()
    for one, other in zip(ours.params(), theirs.params()):
        one.array[...] = other.array[...] = generator.standard_normal(one.shape)
    reference = theirs_class(0.1).setup(theirs)
    reference.add_hook(chainer.optimizer_hooks.WeightDecay(0.01))
    optimizer = OPTIMIZERS[name](ours, settings(name=name, momentum=0.9, weight_decay=0.01))
    for step in (1, 2, 3):
        for one, other in zip(ours.params(), theirs.params()):
            one.grad = generator.standard_normal(one.shape).astype(np.float32)
            other.grad = one.grad.copy()
        optimizer.update(0.1, 0.0, step)
        reference.update()
    for one, other in zip(ours.params(), theirs.params()):
        np.testing.assert_allclose(one.array, other.array, rtol=1e-6, atol=1e-6)


STATES = {
    "momentum_sgd": ["velocity"],
    "adam": ["first", "second"],
    "rmsprop": ["squares"],
    "rmsprop_warmup": ["squares", "direction"],
}


def trained(name: str, resumed: bool, left_out: str = "") -> list[bytes]:
    """Parameters after five updates. ``resumed``: the last two are another optimizer's on another
    model, which were given the parameters and the state of the first ones but for one array."""
    generator = np.random.Generator(np.random.Philox(4))
    rule = settings(name=name, weight_decay=0.01)
    model = Small()
    for parameter in model.params():
        parameter.array[...] = generator.standard_normal(parameter.shape)
    optimizer = OPTIMIZERS[name](model, rule)
    for step in range(1, 6):
        if resumed and step == 4:
            saved, old = optimizer.named_state(), named_arrays(model)
            model = Small()
            optimizer = OPTIMIZERS[name](model, rule)
            for key, array in {**optimizer.named_state(), **named_arrays(model)}.items():
                if key != left_out:
                    array[...] = {**saved, **old}[key]
        for _, parameter in sorted(model.namedparams()):
            parameter.grad = generator.standard_normal(parameter.shape).astype(np.float32)
        optimizer.update(0.1 / step, step / 2, step)
    return [array.tobytes() for array in named_arrays(model).values()]


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_state_and_parameters_are_all_that_a_resumed_run_needs(name: str) -> None:
    names = [f"/{parameter}/{state}" for parameter in "Wb" for state in STATES[name]]
    assert list(OPTIMIZERS[name](Small(), settings(name=name)).named_state()) == names
    whole = trained(name, resumed=False)
    assert trained(name, resumed=True) == whole
    for left_out in names:
        assert trained(name, resumed=True, left_out=left_out) != whole, left_out


def test_rmsprop_warmup_ends_as_momentum_sgd() -> None:
    generator = np.random.Generator(np.random.Philox(3))
    one, other = Small(), Small()
    late = OPTIMIZERS["rmsprop_warmup"](one, settings(name="rmsprop_warmup"))
    plain = OPTIMIZERS["momentum_sgd"](other, settings())
    for left, right in zip(one.params(), other.params()):
        left.array[...] = right.array[...] = 0
    for step in (1, 2, 3):
        for left, right in zip(one.params(), other.params()):
            left.grad = right.grad = generator.standard_normal(left.shape).astype(np.float32)
        late.update(0.1, 12.5, step)
        plain.update(0.1, 12.5, step)
    for left, right in zip(one.params(), other.params()):
        np.testing.assert_allclose(left.array, right.array, rtol=1e-5, atol=1e-6)


def test_power_is_a_product() -> None:
    assert [power(0.5, n) for n in (0, 1, 2, 11)] == [1.0, 0.5, 0.25, 0.5**11]
    assert power(0.999, 1000) == pytest.approx(0.999**1000, rel=1e-12)
    assert power(0.9, 10**9) == 0.0


@pytest.mark.parametrize(
    ("epoch", "rate"),
    [(0.0, 0.0), (1.0, 0.05), (2.0, 0.1), (9.99, 0.1), (10.0, 0.05), (25.0, 0.025)],
)
def test_step_decay_after_linear_warmup(epoch: float, rate: float) -> None:
    rule = settings(lr_decay_factor=0.5, lr_decay_epochs=10, warmup_epochs=2)
    assert learning_rate(rule, epoch, 4096) == pytest.approx(rate, rel=1e-12)


def test_warmup_may_outlast_a_decay() -> None:
    rule = settings(lr_decay_factor=0.5, lr_decay_epochs=1, warmup_epochs=4)
    assert learning_rate(rule, 2.0, 4096) == pytest.approx(0.1 * 0.25 * 0.5, rel=1e-12)


def test_linear_scaling_with_gradual_warmup() -> None:
    """Goyal et al. 2017: 0.1 per 256 samples, from 0.1 to 3.2 in 5 epochs for 8192."""
    rule = settings(lr_batch=256, warmup_epochs=5)
    rates = [learning_rate(rule, epoch, 8192) for epoch in (0.0, 2.5, 5.0, 30.0, 60.0)]
    assert rates == pytest.approx([0.1, 1.65, 3.2, 0.32, 0.032], rel=1e-12)
    assert learning_rate(rule, 0.0, 256) == 0.1
    # A rate that is scaled down needs no warm-up.
    assert learning_rate(rule, 0.0, 64) == pytest.approx(0.025, rel=1e-12)


@pytest.mark.parametrize(
    ("epoch", "factor"),
    [(0, 0.5), (39.99, 0.5), (40, 0.075), (69.99, 0.075), (70, 0.01), (85, 0.001), (200, 0.001)],
)
def test_rate_of_rmsprop_warmup(epoch: float, factor: float) -> None:
    rule = settings(name="rmsprop_warmup")
    assert learning_rate(rule, epoch, 32768) == pytest.approx(12.8 * factor, rel=1e-12)
    assert learning_rate(rule, epoch, 64) == pytest.approx(0.025 * factor, rel=1e-12)
    half = settings(name="rmsprop_warmup", lr_batch=128)
    assert learning_rate(half, epoch, 64) == pytest.approx(0.05 * factor, rel=1e-12)


@pytest.mark.parametrize(
    ("epoch", "share"),
    [
        (0.0, 0.5 * np.exp(-4.0)),
        (5.25, 0.5 * np.exp(-1.9)),
        (10.0, 0.5),
        (11.0, 0.7),
        (12.5, 1.0),
        (90.0, 1.0),
    ],
)
def test_share_of_sgd(epoch: float, share: float) -> None:
    assert sgd_share(epoch) == pytest.approx(share, rel=1e-15)


def test_share_of_sgd_is_smooth_at_its_centre() -> None:
    below, above = sgd_share(10 - 1e-6), sgd_share(10 + 1e-6)
    assert (0.5 - below) / 1e-6 == pytest.approx((above - 0.5) / 1e-6, rel=1e-5)
    assert sgd_share(0.0).hex() == "0x1.2c155b8213cf4p-7"
