"""What only a GPU can show: `python -m pytest -m gpu tests/trainer`. Never run so far."""

from __future__ import annotations

import warnings
from typing import Any, Dict, Iterator, List

import numpy as np
import pytest

from manifests.record.keys import INPUT_SIDE, Arch, values_of
from manifests.record.schema import Optimizer

pytestmark = pytest.mark.gpu
chainer = pytest.importorskip("chainer", reason="no Chainer here")

from trainer.data import TrainingBatch  # noqa: E402
from trainer.device import CPU, Device  # noqa: E402
from trainer.digest import collect, start_digests, tensor_digests  # noqa: E402
from trainer.gpu import block_digest  # noqa: E402
from trainer.gpu.facts import driver_version, gpu_of_rank, visible_gpus  # noqa: E402
from trainer.gpu.gpu import Gpu  # noqa: E402
from trainer.gpu.settings import apply_settings  # noqa: E402
from trainer.initial import named_arrays, named_gradients, set_initial  # noqa: E402
from trainer.layers.draws import Draws  # noqa: E402
from trainer.loop import gradients  # noqa: E402
from trainer.loss_scale import LossScale, Scaled, divide  # noqa: E402
from trainer.models import MODELS  # noqa: E402
from trainer.optimizers import OPTIMIZERS  # noqa: E402
from trainer.order import StreamPosition  # noqa: E402
from trainer.statistics import named_statistics  # noqa: E402


@pytest.fixture(autouse=True)
def other_installations() -> Iterator[None]:
    """Other versions of CuPy and Chainer may warn of what is none of our business."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not (chainer.backends.cuda.available and chainer.backends.cuda.cudnn_enabled):
            pytest.skip("Chainer finds no CuPy with cuDNN here")
        yield


def open_gpu(number: int, *, mixed: bool = False) -> Device:
    """As trainer.device does it, without NCCL."""
    import cupy

    apply_settings(mixed=mixed)
    cupy.cuda.Device(number).use()
    return Device(Gpu(cupy, None), np.float16 if mixed else np.float32, number)


def numbers() -> List[int]:
    """The first GPU and the last one: determinism was reported to hold on GPU 0 only."""
    import cupy

    return sorted({0, visible_gpus(cupy) - 1})


def batch(name: str, size: int = 4) -> TrainingBatch:
    side = INPUT_SIDE[name][0]
    rng = np.random.Generator(np.random.Philox(1))
    images = rng.uniform(-0.5, 0.5, (size, 3, side, side)).astype(np.float32)
    labels = np.arange(size, dtype=np.int32)
    return TrainingBatch(images, labels, [StreamPosition(0, k) for k in range(size)])


def model_on(device: Device, name: str) -> Any:
    model = MODELS[name](8)
    set_initial(model, 3, model.initial_limit)
    device.place(model)
    return model


def on_host(arrays: Dict[str, Any]) -> Dict[str, Any]:
    return {name: chainer.backends.cuda.to_cpu(array) for name, array in arrays.items()}


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("name", values_of(Arch))
def test_steps_repeat_bit_for_bit_on_every_gpu(name: str, mixed: bool) -> None:
    found = []
    for number in [*numbers(), *numbers()]:
        device = open_gpu(number, mixed=mixed)
        model = model_on(device, name)
        optimizer = OPTIMIZERS["momentum_sgd"](model, Optimizer(name="momentum_sgd", lr=0.01))
        losses = []
        for step in range(1, 4):
            loss, _ = gradients(model, batch(name), 3, device)
            optimizer.update(0.01, 0.0, step)
            losses.append(loss.hex())
        digests = tensor_digests({**named_arrays(model), **named_statistics(model)})
        found.append((losses, digests))
    assert all(each == found[0] for each in found)


@pytest.mark.parametrize("name", values_of(Arch))
def test_a_step_is_about_that_of_the_cpu(name: str) -> None:
    expected, got = model_on(CPU, name), model_on(open_gpu(0), name)
    assert {k: v.tobytes() for k, v in on_host(named_arrays(got)).items()} == {
        k: v.tobytes() for k, v in named_arrays(expected).items()
    }
    loss, _ = gradients(expected, batch(name), 3)
    loss_there, _ = gradients(got, batch(name), 3, open_gpu(0))
    assert loss_there == pytest.approx(loss, rel=1e-3)
    for key, value in on_host(named_gradients(got)).items():
        own = named_gradients(expected)[key]
        # In float32 the last bits of 50 layers add up to percents.
        assert np.linalg.norm(value - own) <= 0.1 * np.linalg.norm(own), key


def test_dropout_masks_are_those_of_the_cpu() -> None:
    device = open_gpu(0)
    draws = Draws(7, [StreamPosition(2, k) for k in range(3)])
    ones = np.ones((3, 5, 4, 4), np.float32)
    expected = draws.dropout(chainer.Variable(ones), 0.5, "layer").array
    got = draws.dropout(chainer.Variable(device.put(ones)), 0.5, "layer").array
    np.testing.assert_array_equal(chainer.backends.cuda.to_cpu(got), expected)


@pytest.mark.parametrize("number", [0, -1])
def test_digests_are_those_of_the_formula(number: int) -> None:
    device = open_gpu(numbers()[number])
    rng = np.random.Generator(np.random.Philox(2))
    arrays = {
        f"/{size}": rng.integers(0, 2**32, size, np.uint32).view(np.float32)
        for size in (0, 1, 15, 16384, 16385, 3_000_001)
    }
    arrays["/half"] = rng.standard_normal(77777).astype(np.float16)
    arrays["/order"] = np.asfortranarray(rng.standard_normal((300, 70)).astype(np.float32))
    there = {name: device.put(array) for name, array in arrays.items()}
    # A view that begins at an odd place.
    there["/view"], arrays["/view"] = there["/half"][1:], arrays["/half"][1:]
    expected = {name: block_digest.on_host(name, array) for name, array in arrays.items()}
    first, second = start_digests(there), start_digests({"/1": there["/1"]})
    assert collect(first, second) == [expected, {"/1": expected["/1"]}]


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_an_overflow_is_found(bad: float) -> None:
    device = open_gpu(0)
    sound = [device.put(np.full(100_000, 3.0, np.float32)), device.put(np.ones(3, np.float32))]
    assert divide(sound, np.float32(0.5)) and float(sound[0][77]) == 1.5
    sound[0][99_999] = bad
    assert not divide(sound, np.float32(0.5))


def test_mixed_precision_learns() -> None:
    last = []
    for mixed in (False, True):
        device = open_gpu(0, mixed=mixed)
        model, scale = model_on(device, "nin"), LossScale()
        settings = Optimizer(name="momentum_sgd", lr=0.002)
        optimizer = Scaled(OPTIMIZERS["momentum_sgd"](model, settings), scale)
        losses = []
        for step in range(1, 9):
            loss, _ = gradients(model, batch("nin", 2), step, device, scale.factor)
            scale.settle(list(named_gradients(model).values()))
            optimizer.update(0.002, 0.0, step)
            losses.append(loss)
        assert all(array.dtype == np.float32 for array in named_arrays(model).values())
        assert losses[-1] < losses[0] - 0.2, losses
        last.append(losses[-1])
    assert last[1] == pytest.approx(last[0], rel=0.3)


def test_facts() -> None:
    import cupy

    for number in numbers():
        found = gpu_of_rank(cupy, number, 0, "here")
        assert found.kind.multiprocessors > 0 and found.memory > 1 << 30
        assert found.bus.count(":") == 2 and found.bus == found.bus.lower()
    assert driver_version()
