"""The GPU form of a view's pixels against trainer.augment.subtract_mean, bit for bit.

Most of it without a GPU, as in test_update_kernels.py: the text is C as well as CUDA.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, List, Tuple

import numpy as np
import pytest

from tests.trainer.fake_streams import FakeGpu
from tests.trainer.kernels import ARCHITECTURES, needs_compiler, nvrtc_program
from trainer.augment import MeanImage, View, choose_views, cut_view
from trainer.image import scaled_side
from trainer.loadtypes.views import Writer
from trainer.optimizers.elementwise import OPERATIONS
from trainer.prefetch.normalization import KERNEL, PIXEL, Normalization

#: (insize, side): the papers' own, NiN at 67 pixels, and others with a scaled side or no room.
SIDES = [(227, 256), (224, 256), (67, scaled_side(67, 227)), (100, scaled_side(100, 227)), (5, 5)]


def random(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def hard_mean(side: int) -> Any:
    """Ordinary means, and others that no set of images has: subnormal, huge, exact and odd ones."""
    mean = random(side).random((3, side, side), np.float32) * np.float32(255)
    odd = [0.0, -0.0, 1e-45, -1e-40, 1.1754942e-38, 255.0, 127.5, 3e38, -3e38, 16777217.0, 1 / 3]
    places = mean.reshape(-1)[:: side + 1]
    places[:] = np.resize(np.array(odd, np.float32), places.size)
    return mean


def images(count: int, side: int) -> List[Any]:
    """Every value of a pixel stands in every image that is large enough, but the last is black."""
    shape = (3, side, side)
    return [
        ((np.arange(3 * side * side) * (2 * k + 1) + k) % 256).astype(np.uint8).reshape(shape)
        for k in range(count - 1)
    ] + [np.zeros(shape, np.uint8)]


def case(insize: int, side: int) -> Tuple[Any, Any, Any, Any]:
    """Batch as loaders deliver it, views int32 (n, 3), mean, and what the CPU makes of it."""
    room, mean = side - insize, hard_mean(side)
    drawn = choose_views(side, insize, 3, range(12), [5] * 12)
    chosen = [View(top, left, bool(flip)) for top, left, flip in drawn.tolist()]
    chosen += [View(0, 0, True), View(room, room, True), View(0, room, False), View(room, 0, True)]
    raw = np.empty((len(chosen), 3, insize, insize), np.uint8)
    expected = np.full(raw.shape, np.nan, np.float32)
    writer = Writer(chosen, MeanImage(mean), expected)
    for view, pixels, cut in zip(chosen, images(len(chosen), side), raw):
        cut_view(pixels, view, cut)
        writer.add(pixels)
    writer.finish()
    views = np.array(chosen, np.int32)
    assert views[:, 2].any() and not views[:, 2].all()
    return raw, views, mean, expected


def normalized(raw: Any, views: Any, mean: Any) -> Any:
    gpu = FakeGpu()
    made = Normalization(gpu, mean)  # type: ignore[arg-type]
    return made(gpu.cupy.asarray(raw), gpu.cupy.asarray(views)).get()


@needs_compiler
@pytest.mark.parametrize(("insize", "side"), SIDES)
def test_the_kernels_text_gives_the_bits_of_the_cpu(insize: int, side: int) -> None:
    raw, views, mean, expected = case(insize, side)
    assert side < 9 or len(np.unique(raw)) == 256
    assert normalized(raw, views, mean).tobytes() == expected.tobytes()


@needs_compiler
def test_what_would_be_seen() -> None:
    """The arrays tell another rounding, a flush of subnormal numbers and a wrong view apart."""
    raw, views, mean, expected = case(67, 76)
    at_once = ((raw - shifts(views, mean, 67).astype(np.float64)) / 255).astype(np.float32)
    assert (at_once != expected).sum() > 1000
    assert ((np.abs(expected) < 1.1754944e-38) & (expected != 0)).any()
    for column in range(3):
        other = views.copy()
        other[:, column] ^= 1
        assert (normalized(raw, other, mean) != expected).any(axis=(1, 2, 3)).all()


def shifts(views: Any, mean: Any, insize: int) -> Any:
    """The means of the pixels of each view, mirrored with it."""
    cuts = []
    for top, left, flip in views:
        cut = mean[:, top : top + insize, left : left + insize]
        cuts.append(cut[:, :, ::-1] if flip else cut)
    return np.stack(cuts)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_nvrtc_keeps_both_roundings(architecture: str) -> None:
    """With CuPy's options; the machine code of the architecture is made too."""
    nvrtc = pytest.importorskip("cupy", reason="CuPy is not installed here").cuda.nvrtc
    source = OPERATIONS + PIXEL + KERNEL
    text = nvrtc.getPTX(nvrtc_program(source, f"compute_{architecture}")).decode()
    found = Counter(re.findall(r"\b[a-z]+\.[a-z0-9.]*f32\b[a-z0-9.]*", text))
    moves = {key for key in found if key.split(".")[0] in ("ld", "st", "mov", "cvta")}
    exact = {key for key in found if re.fullmatch(r"cvt\.rn\.f32\.[us](8|16|32)", key)}
    rounded = {key: count for key, count in found.items() if key not in moves | exact}
    # As often as the compiler unrolls the loop over a row.
    assert set(rounded) == {"sub.rn.f32", "mul.rn.f32"}
    assert exact and len(set(rounded.values())) == 1
    assert nvrtc.getCUBIN(nvrtc_program(source, f"sm_{architecture}"))


@pytest.mark.gpu
@pytest.mark.parametrize(("insize", "side"), SIDES)
def test_a_gpu_gives_the_bits_of_the_cpu(insize: int, side: int) -> None:
    import cupy

    from trainer.gpu.gpu import Gpu

    raw, views, mean, expected = case(insize, side)
    normalize = Normalization(Gpu(cupy, None), mean)
    found = cupy.asnumpy(normalize(cupy.asarray(raw), cupy.asarray(views)))
    assert found.tobytes() == expected.tobytes()
