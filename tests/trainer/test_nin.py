"""Layers against Chainer's own, the network against the paper's shape, parameters from the seed."""

from __future__ import annotations

from typing import Any

import chainer
import chainer.functions as F
import numpy as np
import pytest

from trainer import initial
from trainer.digest import tensor_digests
from trainer.initial import he_limit, named_arrays, named_gradients, set_initial, uniform
from trainer.layers import im2col
from trainer.layers.convolution import Convolution2DFunction
from trainer.layers.draws import Draws
from trainer.layers.pooling import max_pooling_2d
from trainer.models.nin import NIN
from trainer.order import StreamPosition


def random(*shape: int, seed: int = 0) -> Any:
    return np.random.Generator(np.random.Philox(seed)).standard_normal(shape)


def values_and_gradients(function: Any, *arrays: Any) -> list[Any]:
    """The result and the gradient of each argument for a fixed gradient of the result."""
    variables = [chainer.Variable(array.copy()) for array in arrays]
    y = function(*variables)
    y.grad = random(*y.shape, seed=99)
    y.backward()
    return [y.array, *(variable.grad for variable in variables)]


@pytest.mark.parametrize("elements", [1 << 22, 500])
@pytest.mark.parametrize(
    ("side", "kernel", "stride", "pad"), [(9, 3, 1, 1), (11, 5, 1, 2), (15, 7, 4, 0), (4, 1, 1, 0)]
)
def test_convolution_is_that_of_chainer(
    monkeypatch: pytest.MonkeyPatch, elements: int, side: int, kernel: int, stride: int, pad: int
) -> None:
    monkeypatch.setattr(im2col, "BAND_ELEMENTS", elements)
    arrays = (random(3, 2, side, side), random(4, 2, kernel, kernel, seed=1), random(4, seed=2))
    ours = values_and_gradients(lambda *a: Convolution2DFunction(stride, pad).apply(a)[0], *arrays)
    theirs = values_and_gradients(
        lambda x, w, b: F.convolution_2d(x, w, b, stride=stride, pad=pad), *arrays
    )
    for one, other in zip(ours, theirs):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("side", [2, 3, 7, 8, 15, 22])
def test_pooling_is_that_of_chainer(side: int) -> None:
    # Few distinct values, so that windows hold equal ones.
    x = np.round(random(3, 2, side, side))
    ours = values_and_gradients(lambda v: max_pooling_2d(v, 3, 2), x)
    theirs = values_and_gradients(lambda v: F.max_pooling_2d(v, 3, 2), x)
    for one, other in zip(ours, theirs):
        np.testing.assert_array_equal(one, other)


def test_parameters_of_the_paper() -> None:
    """Weights and biases of each layer by hand, for 1000 classes."""
    block1 = (11 * 11 * 3 * 96 + 96) + 2 * (96 * 96 + 96)
    block2 = (5 * 5 * 96 * 256 + 256) + 2 * (256 * 256 + 256)
    block3 = (3 * 3 * 256 * 384 + 384) + 2 * (384 * 384 + 384)
    block4 = (3 * 3 * 384 * 1024 + 1024) + (1024 * 1024 + 1024) + (1024 * 1000 + 1000)
    model = NIN(1000)
    assert sum(p.size for p in model.params()) == block1 + block2 + block3 + block4 == 7_595_176


@pytest.mark.parametrize("side", [67, 96, 227])
def test_scores_for_every_side(side: int) -> None:
    model = NIN(8)
    with chainer.no_backprop_mode(), chainer.using_config("train", False):
        scores = model(np.zeros((1, 3, side, side), np.float32))
    assert (scores.shape, scores.dtype) == ((1, 8), np.float32)


def test_initial_parameters_follow_seed_name_and_shape() -> None:
    first, again, other = NIN(8), NIN(8), NIN(8)
    set_initial(first, 5)
    set_initial(again, 5)
    set_initial(other, 6)
    digests = [tensor_digests(named_arrays(model)) for model in (first, again, other)]
    assert digests[0] == digests[1]
    for name, array in named_arrays(first).items():
        if name.endswith("/b"):
            assert not array.any()
        else:
            assert digests[0][name] != digests[2][name]
            fan_in = np.prod(array.shape[1:])
            assert abs(array.std() / np.sqrt(2 / fan_in) - 1) < 0.05
            assert abs(array.mean()) < 3 * np.sqrt(2 / fan_in / array.size)
    assert drawn(5, "/a/W", (2, 3)).tolist() != drawn(5, "/b/W", (2, 3)).tolist()


def drawn(seed: int, name: str, shape: tuple[int, ...]) -> Any:
    return uniform(seed, name, shape, he_limit(shape))


def test_drawing_in_chunks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = drawn(1, "/a/W", (7, 11))
    monkeypatch.setattr(initial, "CHUNK", 10)
    assert drawn(1, "/a/W", (7, 11)).tobytes() == whole.tobytes()


def test_initial_parameters_are_known() -> None:
    assert [value.hex() for value in drawn(0, "/a/W", (1, 3))[0].tolist()] == [
        "-0x1.cb0fb40000000p-1",
        "-0x1.f937d00000000p-1",
        "0x1.8432500000000p-1",
    ]


def test_dropout_scales_forward_and_backward() -> None:
    x = chainer.Variable(np.ones((2, 400, 2, 2), np.float32))
    with chainer.using_config("train", True):
        y = Draws(1, [StreamPosition(0, 0), StreamPosition(1, 0)]).dropout(x, 0.5, "layer")
    assert set(np.unique(y.array)) == {0.0, 2.0}
    assert abs(y.array.mean() - 1) < 0.1
    y.grad = np.ones_like(y.array)
    y.backward()
    np.testing.assert_array_equal(x.grad, y.array)


def test_gradient_is_the_slope_of_the_loss() -> None:
    """Along a random direction, with dropout, by a central difference."""
    model = NIN(4)
    set_initial(model, 3)
    x, labels = random(2, 3, 67, 67).astype(np.float32), np.array([1, 3], np.int32)
    draws = Draws(3, [StreamPosition(0, 0), StreamPosition(1, 0)])

    def loss() -> chainer.Variable:
        with chainer.using_config("train", True):
            return F.softmax_cross_entropy(model(x, draws), labels)

    model.cleargrads()
    loss().backward()
    arrays, gradients = named_arrays(model), named_gradients(model)
    slope = sum(float((g.astype(np.float64) ** 2).sum()) for g in gradients.values())
    step = 1e-3 / np.sqrt(slope)
    values = []
    for sign in (1, -2):
        for name, array in arrays.items():
            array += np.float32(sign * step) * gradients[name]
        values.append(float(loss().array))
    assert (values[0] - values[1]) / (2 * step) == pytest.approx(slope, rel=0.05)
