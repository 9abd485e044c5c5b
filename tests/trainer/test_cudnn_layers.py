"""The layers that GPUs use, without a GPU: Chainer's NumPy forms of them against the CPU's own.

Whether cuDNN computes what they say is for tests/trainer/test_on_gpu.py.
"""

from __future__ import annotations

from typing import Any, Dict, Iterator, Tuple

import chainer
import chainer.functions as F
import chainer.links as L
import numpy as np
import pytest

from manifests.record.keys import INPUT_SIDE, Arch, values_of
from trainer.data import TrainingBatch
from trainer.device import Device
from trainer.initial import named_gradients, set_initial
from trainer.layers import cudnn, draws
from trainer.layers.loss import CrossEntropy, cross_entropies, cross_entropy
from trainer.layers.normalization import DECAY, EPS
from trainer.layers.pooling import average_pooling_2d, global_average, max_pooling_2d
from trainer.loop import gradients
from trainer.loss_scale import LossScale, Scaled
from trainer.models import MODELS, auxiliary, classifier
from trainer.optimizers import OPTIMIZERS
from trainer.order import StreamPosition
from trainer.statistics import named_statistics


def random(*shape: int, seed: int = 0) -> Any:
    return np.random.Generator(np.random.Philox(seed)).standard_normal(shape)


def found(function: Any, *arrays: Any) -> Tuple[Any, ...]:
    """The value, and the gradient of each argument for a fixed gradient of the result."""
    variables = [chainer.Variable(array.copy()) for array in arrays]
    y = function(*variables)
    y.grad = random(*y.shape, seed=99).astype(y.dtype)
    y.backward()
    return (y.array, *(variable.grad for variable in variables))


@pytest.mark.parametrize(("side", "kernel", "stride", "pad"), [
    (12, 3, 2, 0), (13, 3, 2, 0), (7, 3, 1, 1), (6, 2, 2, 0), (112, 3, 2, 0),
])  # fmt: skip
def test_pooling(side: int, kernel: int, stride: int, pad: int) -> None:
    """With equal values too: the gradient goes to the same one."""
    x = random(2, 3, side, side).round(1)
    own = found(lambda v: max_pooling_2d(v, kernel, stride, pad), x)
    for one, other in zip(own, found(lambda v: cudnn.max_pooling(v, kernel, stride, pad), x)):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("side", "kernel", "stride", "pad"), [(14, 5, 3, 0), (7, 3, 1, 1)])
def test_average_pooling(side: int, kernel: int, stride: int, pad: int) -> None:
    x = random(2, 3, side, side)
    own = found(lambda v: average_pooling_2d(v, kernel, stride, pad), x)
    for one, other in zip(own, found(lambda v: cudnn.average_pooling(v, kernel, stride, pad), x)):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


def test_global_average() -> None:
    x = random(2, 3, 7, 7).astype(np.float32)
    own, other = found(global_average, x), found(cudnn.global_average, x)
    for one, two in zip(own, other):
        np.testing.assert_array_equal(one, two)


def test_parameters_of_mixed_runs_stay_float32_and_get_float32_gradients() -> None:
    x = random(2, 4, 6, 6).astype(np.float16)
    weights, bias = (random(*s, seed=1).astype(np.float32) for s in ((6, 2, 3, 3), (6,)))
    y, gx, g_weights, g_bias = found(
        lambda *a: cudnn.convolution(*a, pad=1, groups=2, relu=True), x, weights, bias
    )
    assert (y.dtype, gx.dtype) == (np.float16, np.float16)
    assert (g_weights.dtype, g_bias.dtype) == (np.float32, np.float32)
    matrix = random(5, 144, seed=2).astype(np.float32)
    y, gx, g_matrix = found(lambda v, w: cudnn.linear(v, w, None), x, matrix)
    assert (y.dtype, gx.dtype, g_matrix.dtype) == (np.float16, np.float16, np.float32)


@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 5, 5)])
def test_normalisation_in_float16_keeps_its_statistics_in_float32(shape: Tuple[int, ...]) -> None:
    link = L.BatchNormalization(3, decay=DECAY, eps=EPS)
    x = random(*shape).astype(np.float16)
    with chainer.using_config("train", True):
        y = cudnn.normalized(link, chainer.Variable(x), relu=True)
    assert y.dtype == np.float16
    assert link.avg_mean.dtype == link.avg_var.dtype == np.float32
    wide = x.astype(np.float64)
    axes = (0, *range(2, x.ndim))
    np.testing.assert_allclose(link.avg_mean, 0.1 * wide.mean(axis=axes), rtol=1e-5)
    with chainer.using_config("train", False):
        assert cudnn.normalized(link, chainer.Variable(x)).dtype == np.float16


def test_cross_entropy_is_chainers() -> None:
    scores = random(6, 9).astype(np.float32) * 5
    labels = np.array([0, 8, 3, 3, 1, 7], np.int32)
    own = found(lambda v: F.average(CrossEntropy().apply((v, labels))[0]), scores)
    for one, other in zip(own, found(lambda v: cross_entropy(v, labels), scores)):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)
    each = CrossEntropy().apply((chainer.Variable(scores), labels))[0].array
    np.testing.assert_allclose(each, cross_entropies(scores, labels), rtol=1e-5, atol=1e-6)


def test_cross_entropy_of_float16_is_float32_and_hands_back_float16() -> None:
    scores = chainer.Variable(np.array([[60000, -60000], [0, 0]], np.float16))
    loss = F.average(CrossEntropy().apply((scores, np.array([1, 0], np.int32)))[0])
    assert loss.dtype == np.float32 and loss.array == pytest.approx((120000 + np.log(2)) / 2, 1e-3)
    (loss * 1024.0).backward()
    assert scores.grad.dtype == np.float16
    np.testing.assert_array_equal(scores.grad, [[512, -512], [-256, 256]])


@pytest.fixture
def as_on_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Networks take the GPU's layers; response normalisation, which is a kernel there, stays."""
    monkeypatch.setattr(cudnn, "on_gpu", lambda x: True)
    monkeypatch.setattr(draws, "on_gpu", lambda x: True)
    mean = lambda scores, labels: F.average(CrossEntropy().apply((scores, labels))[0])  # noqa: E731
    monkeypatch.setattr(classifier, "cross_entropy", mean)
    monkeypatch.setattr(auxiliary, "cross_entropy", mean)
    yield


def batch(name: str, size: int) -> TrainingBatch:
    side = INPUT_SIDE[name][0]
    images = random(size, 3, side, side).astype(np.float32) / 4
    return TrainingBatch(
        images, np.arange(size, dtype=np.int32), [StreamPosition(0, k) for k in range(size)]
    )


def step(name: str, parameters: Any, images: Any) -> Dict[str, Any]:
    """The loss, gradients and statistics of one batch, with parameters and images of these types.

    In float64 nothing is left to chance: in float32 the last bits of 50 layers add up to percents.
    """
    model = MODELS[name](8)
    set_initial(model, 3, model.initial_limit)
    for link in model.links():
        for key in ("avg_mean", "avg_var"):
            if hasattr(link, key):
                setattr(link, key, getattr(link, key).astype(parameters))
    for parameter in model.params():
        parameter.array = parameter.array.astype(parameters)
    loss, _ = gradients(model, batch(name, 2), 3, Device(dtype=images))
    return {"loss": np.float64(loss), **named_gradients(model), **named_statistics(model)}


@pytest.mark.slow
@pytest.mark.parametrize("name", values_of(Arch))
def test_a_step_of_each_network_is_that_of_the_cpu(name: str, request: Any) -> None:
    expected = step(name, np.float64, np.float64)
    request.getfixturevalue("as_on_gpu")
    got = step(name, np.float64, np.float64)
    assert sorted(got) == sorted(expected)
    for key, value in expected.items():
        scale = float(np.abs(value).max())
        np.testing.assert_allclose(got[key], value, rtol=0, atol=1e-5 * scale, err_msg=key)
    # Every cast of mixed precision, with images that are wider than parameters, not narrower.
    mixed = step(name, np.float32, np.float64)
    assert mixed["loss"] == pytest.approx(expected["loss"], rel=1e-4)
    for key, value in mixed.items():
        assert value.dtype == np.float32 or key == "loss", key


@pytest.mark.slow
def test_mixed_precision_learns(as_on_gpu: None) -> None:
    """NiN on four images in float16: the loss falls about as in float32."""
    from manifests.record.schema import Optimizer

    last = {}
    for dtype in (np.float32, np.float16):
        model = MODELS["nin"](8)
        set_initial(model, 3, model.initial_limit)
        scale = LossScale()
        settings = Optimizer(name="momentum_sgd", lr=0.002)
        optimizer = Scaled(OPTIMIZERS["momentum_sgd"](model, settings), scale)
        work, device = batch("nin", 2), Device(dtype=dtype)
        losses = []
        for number in range(1, 7):
            loss, _ = gradients(model, work, number, device, scale.factor)
            scale.settle(list(named_gradients(model).values()))
            optimizer.update(0.002, 0.0, number)
            losses.append(loss)
        assert losses[-1] < losses[0] - 0.2, losses
        last[dtype] = losses[-1]
    assert last[np.float16] == pytest.approx(last[np.float32], rel=0.1)
