"""The kernels of this project and those that it takes from Chainer, without a GPU."""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
from pathlib import Path
from typing import Any, Tuple

import numpy as np
import pytest

from tests.trainer.kernels import (
    ARCHITECTURES,
    c_library,
    elementwise_source,
    needs_compiler,
    nvrtc_program,
)
from trainer import loss_scale
from trainer.gpu import block_digest, lrn_kernels
from trainer.gpu.block_digest import BLOCK

BLOCK_DIGEST_C = f"""
#define CONSTANT static const
#define FUNCTION static
#define UNROLL
{block_digest.SHA256}
void digest(const unsigned int *data, unsigned int length, unsigned int *digest) {{
    sha256(data, length, digest);
}}
"""


def pointer(array: Any) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


@pytest.fixture(scope="module")
def digest(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return c_library(BLOCK_DIGEST_C, tmp_path_factory.mktemp("digest")).digest


@needs_compiler
def test_the_digest_kernels_text_is_sha256(digest: Any) -> None:
    rng = np.random.Generator(np.random.Philox(3))
    data = rng.integers(0, 256, BLOCK, np.uint8)
    lengths = [*range(300), 1023, 1024, BLOCK - 65, BLOCK - 1, BLOCK]
    for length in lengths:
        words = np.empty(8, np.uint32)
        # A copy of its own: memory behind it is not the kernel's to read.
        own = data[:length].copy()
        digest(pointer(own), ctypes.c_uint(length), pointer(words))
        assert words.astype(">u4").tobytes() == hashlib.sha256(own).digest(), length


@needs_compiler
@pytest.mark.parametrize("shape", [(0,), (), (1,), (3, 5), (BLOCK // 4,), (BLOCK // 4 + 1,),
                                   (3, 256, 256), (700001,)])  # fmt: skip
@pytest.mark.parametrize("dtype", ["<f4", "<f2", "|u1"])
def test_blocks_are_put_together_as_the_formula_says(
    shape: Tuple[int, ...], dtype: str, digest: Any
) -> None:
    rng = np.random.Generator(np.random.Philox(4))
    array = rng.integers(0, 256, (*shape, np.dtype(dtype).itemsize), np.uint8).view(dtype)[..., 0]
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    lengths = block_digest.block_lengths(array.nbytes)
    assert int(lengths.sum()) == array.nbytes
    words = np.empty((len(lengths), 8), np.uint32)
    for k, length in enumerate(lengths):
        own = flat[k * BLOCK : k * BLOCK + length].copy()
        digest(pointer(own), ctypes.c_uint(int(length)), pointer(words[k]))
    groups = [(["/a"], [block_digest.digest_head("/a", array)], [len(lengths)])]
    assert list(block_digest.digests_of(words, groups)) == [
        {"/a": block_digest.on_host("/a", array)}
    ]


def test_the_formula_itself() -> None:
    """Written out once more, as in docs/determinism.md."""
    array = np.arange(BLOCK // 4 + 3, dtype="<f4")
    data = array.tobytes()
    blocks = hashlib.sha256(data[:BLOCK]).digest() + hashlib.sha256(data[BLOCK:]).digest()
    whole = hashlib.sha256(b"/fc6/b\n<f4\n16387\n" + blocks).hexdigest()
    assert block_digest.on_host("/fc6/b", array) == whole[:32]


def test_groups_of_tensors_share_one_copy() -> None:
    words = np.arange(4 * 8, dtype=np.uint32).reshape(4, 8)
    groups = [(["/a", "/b"], [b"a", b"b"], [1, 2]), (["/c"], [b"c"], [1])]
    raw = words.astype(">u4").tobytes()
    assert list(block_digest.digests_of(words, groups)) == [
        {
            "/a": hashlib.sha256(b"a" + raw[:32]).hexdigest()[:32],
            "/b": hashlib.sha256(b"b" + raw[32:96]).hexdigest()[:32],
        },
        {"/c": hashlib.sha256(b"c" + raw[96:]).hexdigest()[:32]},
    ]


RESPONSE_C = f"""
#include <math.h>
#include <stddef.h>
void forward(int size, const float *x, int channels, int area, int reach, float k, float alpha,
             float *y_, float *scale_) {{
for (ptrdiff_t i = 0; i < size; ++i) {{
float y, scale;
{lrn_kernels.FORWARD}
y_[i] = y; scale_[i] = scale;
}}}}
void backward(int size, const float *x, const float *gy, const float *scale, int channels, int area,
              int reach, float alpha, float beta, float *gx_) {{
for (ptrdiff_t i = 0; i < size; ++i) {{
float gx;
{lrn_kernels.BACKWARD}
gx_[i] = gx;
}}}}
"""


@needs_compiler
@pytest.mark.parametrize("channels", [1, 2, 4, 5, 96])
def test_the_lrn_kernels_text_is_the_formula(channels: int, tmp_path: Path) -> None:
    """In float64 by NumPy, the gradient as a difference quotient of the formula."""
    k, alpha, beta, reach = 2.0, 1e-2, 0.75, 2
    rng = np.random.Generator(np.random.Philox(6))
    x = rng.standard_normal((2, channels, 3)) * 10
    gy = rng.standard_normal(x.shape)

    def formula(values: Any) -> Any:
        squares = np.zeros_like(values)
        for c in range(channels):
            near = slice(max(0, c - reach), c + reach + 1)
            squares[:, c] = (values[:, near] ** 2).sum(axis=1)
        return values / (k + alpha * squares) ** beta

    # An element's number is a ptrdiff_t: the compiler refuses to put it into an int.
    library = c_library(RESPONSE_C, tmp_path, "-Wconversion")
    x32, gy32 = x.astype(np.float32), gy.astype(np.float32)
    y, scale, gx = (np.empty_like(x32) for _ in range(3))
    number, real = ctypes.c_int, ctypes.c_float
    layout = number(channels), number(3), number(reach)
    library.forward(
        number(x.size), pointer(x32), *layout, real(k), real(alpha), pointer(y), pointer(scale)
    )
    np.testing.assert_allclose(y, formula(x), rtol=1e-5)
    library.backward(
        number(x.size), pointer(x32), pointer(gy32), pointer(scale), *layout,
        real(alpha), real(beta), pointer(gx),
    )  # fmt: skip
    step = 1e-5
    expected = np.empty_like(x)
    for place in np.ndindex(*x.shape):
        change = np.zeros_like(x)
        change[place] = step
        slope = (formula(x + change) - formula(x - change)) / (2 * step)
        expected[place] = (slope * gy).sum()
    np.testing.assert_allclose(gx, expected, rtol=2e-4, atol=2e-5)


def compiles(source: str, architecture: str) -> None:
    nvrtc = pytest.importorskip("cupy", reason="CuPy is not installed here").cuda.nvrtc
    assert nvrtc.getCUBIN(nvrtc_program(source, f"sm_{architecture}"))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_nvrtc_compiles_the_digest_kernel(architecture: str) -> None:
    compiles(block_digest.KERNEL, architecture)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_nvrtc_compiles_the_division_by_the_loss_scale(architecture: str) -> None:
    pytest.importorskip("cupy", reason="CuPy is not installed here")
    arrays = {"gradient": np.float32, "bad": np.int32}
    compiles(elementwise_source(loss_scale.check_kernel(), {}, arrays), architecture)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_nvrtc_compiles_the_lrn_kernels(architecture: str, dtype: Any) -> None:
    pytest.importorskip("cupy", reason="CuPy is not installed here")
    for kernel in (lrn_kernels.forward_kernel(), lrn_kernels.backward_kernel()):
        arrays = dict.fromkeys(("x", "gy", "y", "gx"), dtype)
        source = elementwise_source(kernel, {"T": dtype}, {**arrays, "scale": np.float32})
        compiles(source, architecture)


@pytest.mark.skipif(importlib.util.find_spec("chainer") is None, reason="no Chainer here")
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_nvrtc_compiles_chainers_max_pooling(architecture: str, dtype: Any) -> None:
    """Chainer 7.8.1 is older than CuPy 13; its text must mean something to this one."""
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed here")
    from chainer.functions.pooling import max_pooling_nd_kernel as texts

    for make in (texts.MaxPoolingNDKernelForward, texts.MaxPoolingNDKernelBackward):
        kernel = cupy.ElementwiseKernel(*make.generate(2))
        arrays = dict.fromkeys(("in", "out", "gy", "gx"), dtype)
        types = {"T": dtype, "S": np.int32}
        source = elementwise_source(kernel, types, {**arrays, "indexes": np.int32})
        compiles(source, architecture)
