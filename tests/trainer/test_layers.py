"""The layers of the project's own against Chainer's, in float64."""

from __future__ import annotations

from typing import Any

import chainer
import chainer.functions as F
import chainer.links as L
import numpy as np
import pytest

from trainer.layers import channels_last, convolution, im2col, pooling, winograd
from trainer.layers.convolution import Convolution2D, Convolution2DFunction
from trainer.layers.linear import Linear
from trainer.layers.lrn import local_response_normalization
from trainer.layers.normalization import DECAY, EPS
from trainer.layers.normalized import NormalizedConvolution
from trainer.layers.pooling import average_pooling_2d, max_pooling_2d


def random(*shape: int, seed: int = 0) -> Any:
    return np.random.Generator(np.random.Philox(seed)).standard_normal(shape)


def check_same(ours: Any, theirs: Any, *arrays: Any) -> None:
    """Values, and the gradient of each argument for a fixed gradient of the result."""
    found = []
    for function in (ours, theirs):
        variables = [chainer.Variable(array.copy()) for array in arrays]
        y = function(*variables)
        y.grad = random(*y.shape, seed=99)
        y.backward()
        found.append([y.array, *(variable.grad for variable in variables)])
    for one, other in zip(*found):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("side", "kernel", "stride", "pad"), [(9, 3, 2, 1), (11, 7, 2, 3), (7, 1, 2, 0), (8, 1, 2, 0)]
)
def test_convolution_without_biases(side: int, kernel: int, stride: int, pad: int) -> None:
    check_same(
        lambda x, w: Convolution2DFunction(stride, pad).apply((x, w))[0],
        lambda x, w: F.convolution_2d(x, w, stride=stride, pad=pad),
        random(3, 2, side, side),
        random(4, 2, kernel, kernel, seed=1),
    )


@pytest.fixture(params=[None, 20])
def small_parts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in parts of the usual size, then in so small ones that every edge is met."""
    if request.param is not None:
        monkeypatch.setattr(winograd, "TILES", 3)
        monkeypatch.setattr(im2col, "BAND_ELEMENTS", 300)
        monkeypatch.setattr(channels_last, "PIECE", request.param)
        monkeypatch.setattr(pooling, "PIECE", request.param)
    monkeypatch.setattr(convolution, "WINOGRAD_CHANNELS", 1)


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize(
    ("rows", "columns", "kernel", "stride", "pad"),
    [
        *[(9, 9, 3, 1, 1), (8, 7, 3, 1, 1), (2, 3, 3, 1, 1), (3, 4, 3, 1, 0), (12, 5, 3, 1, 2)],
        *[(10, 9, 3, 2, 1), (15, 11, 7, 4, 0), (4, 5, 1, 1, 0), (9, 9, 1, 2, 0), (7, 8, 5, 1, 2)],
    ],
)
def test_convolution_with_relu(
    rows: int, columns: int, kernel: int, stride: int, pad: int, relu: bool
) -> None:
    def theirs(x: Any, w: Any, b: Any) -> Any:
        y = F.convolution_2d(x, w, b, stride=stride, pad=pad)
        return F.relu(y) if relu else y

    check_same(
        lambda x, w, b: Convolution2DFunction(stride, pad, relu).apply((x, w, b))[0],
        theirs,
        random(3, 2, rows, columns),
        random(4, 2, kernel, kernel, seed=1),
        random(4, seed=2),
    )


def test_tiles_err_little_more_than_the_plain_sum() -> None:
    """In float32, against float64: the tiles' sums are longer, their numbers are not larger."""
    x = np.maximum(random(2, 128, 14, 14), 0).astype(np.float32)
    w = random(128, 128, 3, 3, seed=1).astype(np.float32)
    exact = F.convolution_2d(x.astype(np.float64), w.astype(np.float64), pad=1).array
    plain = F.convolution_2d(x, w, pad=1).array
    tiles = Convolution2DFunction(1, 1).apply((x, w))[0].array
    assert not np.array_equal(plain, tiles)
    assert np.abs(tiles - exact).mean() < 3 * np.abs(plain - exact).mean()


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("with_shortcut", [False, True])
@pytest.mark.parametrize(("kernel", "stride", "pad"), [(3, 1, 1), (1, 1, 0), (3, 2, 1)])
def test_normalized_convolution_is_that_of_chainer(
    kernel: int, stride: int, pad: int, with_shortcut: bool, relu: bool
) -> None:
    """Results and gradients in training, running statistics, results in evaluation."""
    ours, norm = (
        NormalizedConvolution(2, 3, kernel, stride, pad),
        L.BatchNormalization(3, decay=DECAY, eps=EPS, dtype=np.float64),
    )
    ours.norm = L.BatchNormalization(3, decay=DECAY, eps=EPS, dtype=np.float64)

    def set_and_call(x: Any, w: Any, gamma: Any, beta: Any, *shortcut: Any) -> Any:
        ours.conv.W, ours.norm.gamma, ours.norm.beta = w, gamma, beta
        return ours(x, relu, *shortcut)

    def theirs(x: Any, w: Any, gamma: Any, beta: Any, *shortcut: Any) -> Any:
        norm.gamma, norm.beta = gamma, beta
        y = norm(F.convolution_2d(x, w, stride=stride, pad=pad))
        y = y + shortcut[0] if shortcut else y
        return F.relu(y) if relu else y

    side = (9 + 2 * pad - kernel) // stride + 1
    # A large mean, beside which the variance must not be lost.
    arrays = [10 + random(4, 2, 9, 9), random(3, 2, kernel, kernel, seed=1)]
    arrays += [1 + random(3, seed=2), random(3, seed=3)]
    if with_shortcut:
        arrays.append(random(4, 3, side, side, seed=4))
    with chainer.using_config("train", True):
        check_same(set_and_call, theirs, *arrays)
    for name in ("avg_mean", "avg_var"):
        np.testing.assert_allclose(getattr(ours.norm, name), getattr(norm, name), rtol=1e-9)
    with chainer.using_config("train", False), chainer.no_backprop_mode():
        variables = [chainer.Variable(array) for array in arrays]
        found, expected = (call(*variables).array for call in (set_and_call, theirs))
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("bias", [0.0, None])
def test_groups_are_those_of_chainer(bias: Any) -> None:
    link = Convolution2D(6, 4, 3, pad=1, groups=2, bias=bias)
    for parameter in link.params():
        parameter.cleargrad()
        parameter.array = random(*parameter.shape, seed=2)
    b = None if bias is None else link.b
    check_same(link, lambda x: F.convolution_2d(x, link.W, b, pad=1, groups=2), random(2, 6, 5, 5))


@pytest.mark.parametrize("channels", [3, 4, 5, 11])
def test_response_normalisation_is_that_of_chainer(channels: int) -> None:
    # Large values, so that the sum counts beside k.
    x = 100 * random(2, channels, 3, 4)
    check_same(local_response_normalization, F.local_response_normalization, x)


def test_linear_begins_without_drawing() -> None:
    state = np.random.get_state()[1].copy()
    layer = Linear(12, 5, bias=1)
    assert np.array_equal(np.random.get_state()[1], state)
    y = layer(np.ones((2, 3, 2, 2), np.float32))
    np.testing.assert_array_equal(y.array, np.ones((2, 5), np.float32))
    assert [name for name, _ in sorted(Linear(2, 2, bias=None).namedparams())] == ["/W"]


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize(
    ("side", "kernel", "stride", "pad"), [(7, 3, 1, 1), (8, 3, 2, 1), (14, 5, 3, 0), (2, 5, 2, 2)]
)
def test_pooling_is_that_of_chainer(side: int, kernel: int, stride: int, pad: int) -> None:
    # Few distinct values, so that windows hold equal ones.
    x = np.round(random(3, 2, side, side))
    check_same(
        lambda v: max_pooling_2d(v, kernel, stride, pad),
        lambda v: F.max_pooling_2d(v, kernel, stride, pad),
        x,
    )


@pytest.mark.parametrize(("side", "kernel", "stride", "pad"), [(7, 3, 1, 1), (14, 5, 3, 0)])
def test_average_pooling_is_that_of_chainer(side: int, kernel: int, stride: int, pad: int) -> None:
    check_same(
        lambda v: average_pooling_2d(v, kernel, stride, pad),
        lambda v: F.average_pooling_2d(v, kernel, stride, pad),
        random(3, 2, side, side),
    )
