"""The layers of the project's own against Chainer's, in float64."""

from __future__ import annotations

from typing import Any

import chainer
import chainer.functions as F
import numpy as np
import pytest

from trainer.models.convolution import Convolution2D, Convolution2DFunction
from trainer.models.linear import Linear
from trainer.models.pooling import average_pooling_2d, max_pooling_2d
from trainer.models.response import local_response_normalization


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
