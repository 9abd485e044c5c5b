"""Each network against its published number of parameters; all but NiN: heads, a first step."""

from __future__ import annotations

from functools import cache
from typing import Any

import chainer
import chainer.functions as F
import numpy as np
import pytest

from manifests.record.keys import INPUT_SIDE, Arch, values_of
from trainer.data import TrainingBatch
from trainer.digest import tensor_digests
from trainer.initial import named_arrays, named_gradients, set_initial
from trainer.layers.draws import Draws
from trainer.layers.normalized import NormalizedConvolution
from trainer.loop import gradients
from trainer.models import MODELS
from trainer.models.alex import Alex
from trainer.models.googlenetbn import GoogLeNetBN
from trainer.order import StreamPosition
from trainer.statistics import named_statistics

NETWORKS = [name for name in values_of(Arch) if name != "nin"]


@cache
def network(name: str) -> Any:
    """With 8 classes and initial parameters; tests leave it as it is."""
    model = MODELS[name](8)
    set_initial(model, 3, model.initial_limit)
    return model


def batch(name: str, size: int) -> TrainingBatch:
    side = INPUT_SIDE[name][1]
    generator = np.random.Generator(np.random.Philox(1))
    images = generator.uniform(-0.5, 0.5, (size, 3, side, side)).astype(np.float32)
    return TrainingBatch(
        images, np.arange(size, dtype=np.int32), [StreamPosition(0, k) for k in range(size)]
    )


def count(name: str, nclasses: int) -> int:
    return sum(parameter.size for parameter in MODELS[name](nclasses).params())


#: For 1000 classes, and inputs of the layers that end in classes.
PUBLISHED = {
    # Caffe's bvlc_alexnet; the paper rounds to 60 million.
    "alex": (60_965_224, [4096]),
    # Caffe's bvlc_googlenet: 6,998,552 and 3,188,840 + 3,190,888 of the auxiliary classifiers.
    "googlenet": (13_378_280, [1024, 1024, 1024]),
    # 11,285,224 (see below) and 3,198,184 + 3,202,280 of the auxiliary classifiers.
    "googlenetbn": (17_685_688, [1024, 1024, 1024]),
    # Lin, Chen, Yan 2013 by way of Caffe's NIN-Imagenet: a file of 29 MiB (test_nin.py adds up).
    "nin": (7_595_176, [1024]),
    # torchvision's resnet50.
    "resnet50": (25_557_032, [2048]),
}


@pytest.mark.parametrize("name", values_of(Arch))
def test_parameters_are_those_published(name: str) -> None:
    published, ends = PUBLISHED[name]
    assert count(name, 1000) == published
    for nclasses in (8, 16, 32):
        assert count(name, nclasses) == published - sum((1000 - nclasses) * (n + 1) for n in ends)


@pytest.mark.parametrize("name", NETWORKS)
def test_scores_in_evaluation(name: str) -> None:
    """Of one image, without random choices; nothing is left behind."""
    before = tensor_digests(named_arrays(network(name)))
    with chainer.no_backprop_mode(), chainer.using_config("train", False):
        scores = network(name)(batch(name, 1).images)
    assert (scores.shape, scores.dtype) == ((1, 8), np.float32)
    assert np.isfinite(scores.array).all()
    assert tensor_digests(named_arrays(network(name))) == before


@pytest.mark.parametrize("name", NETWORKS)
def test_a_step_repeats_bit_for_bit(name: str) -> None:
    model = network(name)
    state = np.random.get_state()
    found = []
    for _ in range(2):
        loss, correct = gradients(model, batch(name, 2), seed=3)
        found.append((loss.hex(), correct, tensor_digests(named_gradients(model))))
    assert found[0] == found[1]
    assert np.isfinite(loss)
    assert sorted(found[0][2]) == sorted(named_arrays(model))
    for parameter, gradient in named_gradients(model).items():
        assert np.isfinite(gradient).all() and gradient.any(), parameter
    # Nothing draws from NumPy's global state.
    assert np.array_equal(np.random.get_state()[1], state[1])


@pytest.mark.parametrize("name", NETWORKS)
def test_initial_weights_have_the_spread_of_the_paper(name: str) -> None:
    for parameter, array in named_arrays(network(name)).items():
        if array.ndim < 2:
            assert len(set(array.tolist())) == 1, parameter
            continue
        expected = 0.01 if name == "alex" else np.sqrt(2 / np.prod(array.shape[1:]))
        some = array.reshape(-1)[:100_000]
        assert abs(some.std() / expected - 1) < 0.06, parameter


def test_inception_with_normalisation_is_the_published_one() -> None:
    """Published models have no auxiliary classifiers, but biases before each normalisation."""
    model = GoogLeNetBN(1000)
    heads = sum(p.size for head in (model.head1, model.head2) for p in head.params())
    biases = sum(
        link.norm.beta.size
        for name, link in model.namedlinks()
        if isinstance(link, NormalizedConvolution) and "/head" not in name
    )
    assert sum(p.size for p in model.params()) - heads + biases == 11_295_240


def test_running_statistics_follow_the_batches() -> None:
    model = MODELS["resnet50"](8)
    set_initial(model, 3, model.initial_limit)
    start = tensor_digests(named_statistics(model))
    gradients(model, batch("resnet50", 2), seed=3)
    moved = tensor_digests(named_statistics(model))
    # 53 convolutions, each with a mean and a variance.
    assert len(moved) == 2 * 53
    assert all(moved[name] != start[name] for name in moved)
    assert sorted(named_arrays(model)) == sorted(named_gradients(model))


def test_biases_of_alex_begin_at_one_where_the_paper_says() -> None:
    ones = [name for name, array in named_arrays(network("alex")).items() if np.all(array == 1)]
    assert ones == ["/conv2/b", "/conv4/b", "/conv5/b", "/fc6/b", "/fc7/b"]


def test_halves_of_alex_are_apart() -> None:
    """conv2's first outputs do not see the second half of the channels."""
    conv = Alex(8).conv2
    conv.W.array[...] = 1
    x = np.zeros((1, 96, 3, 3), np.float32)
    x[:, 48:] = 1
    y = conv(x).array
    assert (y[:, :128] == 1).all() and (y[:, 128:] == 1 + 48 * 9).all()


AUXILIARY = [name for name in NETWORKS if name.startswith("googlenet")]


@pytest.mark.parametrize("name", AUXILIARY)
def test_auxiliary_classifiers_work_in_training_only(name: str) -> None:
    model, (images, labels, slots) = network(name), vars(batch(name, 2)).values()
    draws = Draws(3, slots)
    with chainer.no_backprop_mode(), chainer.using_config("train", True):
        every = model.all_scores(images, draws)
        loss, scores = model.loss(images, labels, draws)
    assert [each.shape for each in every] == [(2, 8)] * 3
    first, second, last = (float(F.softmax_cross_entropy(each, labels).array) for each in every)
    assert float(loss.array) == pytest.approx(last + 0.3 * (first + second), rel=1e-6)
    np.testing.assert_array_equal(scores.array, every[-1].array)
    with chainer.no_backprop_mode(), chainer.using_config("train", False):
        assert len(model.all_scores(images[:1], None)) == 1
