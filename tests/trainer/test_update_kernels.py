"""The GPU form of each update rule against its NumPy form, bit for bit.

Most of it without a GPU: the text of the kernel is C as well as CUDA, so a C compiler runs it on
the CPU, whose single precision arithmetic is that of IEEE 754 as the GPU's is.
"""

from __future__ import annotations

import ctypes
import re
import subprocess
from collections import Counter
from itertools import product
from pathlib import Path
from typing import Any, List, Sequence, Tuple

import numpy as np
import pytest

from manifests.record import schema
from tests.trainer.kernels import ARCHITECTURES, COMPILER, needs_compiler
from trainer.optimizers import OPTIMIZERS
from trainer.optimizers.elementwise import CHUNK

NAMES = sorted(OPTIMIZERS)

#: What trainer.optimizers.elementwise.OPERATIONS says in PTX.
C_OPERATIONS = """
#include <math.h>
static inline float add_rn(float a, float b) { return a + b; }
static inline float sub_rn(float a, float b) { return a - b; }
static inline float mul_rn(float a, float b) { return a * b; }
static inline float div_rn(float a, float b) { return a / b; }
static inline float sqrt_rn(float a) { return sqrtf(a); }
"""


class NoParameters:
    def namedparams(self) -> Tuple[()]:
        return ()


def rule_of(name: str) -> Any:
    optimizer: Any = OPTIMIZERS[name]
    return optimizer.rule


def numbers_of(name: str) -> Any:
    """Weight decay and those of some step in which no number is a special one."""
    make: Any = OPTIMIZERS[name]
    optimizer = make(NoParameters(), schema.Optimizer.model_validate({"name": name, "lr": 0.1}))
    n = rule_of(name).numbers(*map(np.float32, optimizer.numbers(0.037, 8.3, 17)))
    return np.float32(0.0005), n


def hard_arrays(name: str) -> List[Any]:
    """w, gradient and states: all combinations of special values, any bits, ordinary values."""
    special = [
        0.0, 1e-45, 1.1754942e-38, 1.1754944e-38, 3e-40, 1e-30, 7e-23, 1e-8, 0.1, 1.0000001, 3e4,
        1e18, 3e19, 3.4028235e38, np.inf, np.nan,
    ]  # fmt: skip
    rule = rule_of(name)
    rng = np.random.Generator(np.random.Philox(5))
    arrays = []
    count = 2 + len(rule.states)
    combinations = np.array(list(product(special, repeat=count)), np.float32)
    for k, column in enumerate(combinations.T):
        signs = rng.integers(0, 2, column.size).astype(np.float32) * 2 - 1
        words = rng.integers(0, 2**32, 100_000, np.uint32).view(np.float32)
        ordinary = rng.standard_normal(100_000, np.float32)
        array = np.concatenate([column * signs, words, ordinary])
        mean_of_squares = k >= 2 and rule.states[k - 2] in ("squares", "second")
        arrays.append(np.abs(array) if mean_of_squares else array)
    return arrays


def on_host(name: str, arrays: Sequence[Any]) -> List[Any]:
    w, gradient, *states = (array.copy() for array in arrays)
    with np.errstate(all="ignore"):
        rule_of(name)(w, gradient, tuple(states), *numbers_of(name))
    assert gradient.tobytes() == arrays[1].tobytes()
    return [w, *states]


def compiled(name: str, folder: Path, *flags: str) -> Any:
    """The kernel's body in a C loop, as a function of ``hard_arrays`` that returns like on_host."""
    rule = rule_of(name)
    changed = ("w", *rule.states)
    pointers = ", ".join(f"float *{array}_" for array in ("w", "gradient", *rule.states))
    scalars = ", ".join(f"float {number}" for number in ("decay", *rule.numbers._fields))
    source = folder / f"{name}.c"
    source.write_text(
        f"{C_OPERATIONS}\nvoid rule(long n, {pointers}, {scalars}) {{\n"
        "for (long i = 0; i < n; ++i) {\n"
        "const float gradient = gradient_[i];\n"
        + "".join(f"float {array} = {array}_[i];\n" for array in changed)
        + rule.body
        + "".join(f"{array}_[i] = {array};\n" for array in changed)
        + "}}\n"
    )
    library = folder / f"{name}{len(flags)}.so"
    command = [str(COMPILER), "-std=c11", "-O2", "-Wall", "-Werror", "-shared", "-fPIC", *flags]
    subprocess.run([*command, str(source), "-o", str(library), "-lm"], check=True)
    function = ctypes.CDLL(str(library)).rule

    def call(arrays: Sequence[Any]) -> List[Any]:
        own = [array.copy() for array in arrays]
        decay, n = numbers_of(name)
        function(
            ctypes.c_long(own[0].size),
            *(ctypes.c_void_p(array.ctypes.data) for array in own),
            *(ctypes.c_float(number) for number in (decay, *n)),
        )
        return [own[0], *own[2:]]

    return call


def differences(one: Sequence[Any], other: Sequence[Any]) -> int:
    """Elements whose bits differ; any NaN equals any other."""
    return sum(
        int(((a.view(np.uint32) != b.view(np.uint32)) & ~(np.isnan(a) & np.isnan(b))).sum())
        for a, b in zip(one, other)
    )


@needs_compiler
@pytest.mark.parametrize("name", NAMES)
def test_the_kernels_text_gives_the_bits_of_numpy(name: str, tmp_path: Path) -> None:
    arrays = hard_arrays(name)
    expected = on_host(name, arrays)
    # The values reach every kind of result.
    for kind in (np.isnan, np.isinf, lambda x: (x != 0) & (np.abs(x) < 1.1754944e-38)):
        assert any(kind(array).any() for array in expected)
    assert differences(compiled(name, tmp_path, "-ffp-contract=off")(arrays), expected) == 0


@needs_compiler
@pytest.mark.parametrize("name", NAMES)
def test_contraction_would_be_seen(name: str, tmp_path: Path) -> None:
    arrays = hard_arrays(name)
    contracted = compiled(name, tmp_path, "-ffp-contract=fast", "-mfma")
    assert differences(contracted(arrays), on_host(name, arrays)) > 1000


@pytest.mark.parametrize("name", NAMES)
def test_memory_order_and_chunks_change_nothing(name: str) -> None:
    """A gradient may lie in another order, a parameter may be longer than a chunk."""
    arrays = [array[: 5 * (CHUNK // 2)].reshape(5, -1) for array in hard_arrays(name)]
    expected = on_host(name, [array[:1] for array in arrays])
    other_order = [arrays[0], np.asfortranarray(arrays[1]), *arrays[2:]]
    with np.errstate(all="ignore"):
        w, gradient, *states = (array.copy(order="K") for array in other_order)
        rule_of(name)(w, gradient, tuple(states), *numbers_of(name))
    assert not gradient.flags.c_contiguous
    assert differences([array[:1] for array in (w, *states)], expected) == 0
    whole = on_host(name, arrays)
    assert differences([w, *states], whole) == 0


def as_cupy_compiles_it(name: str, target: str) -> Any:
    """The NVRTC program of the kernel as CuPy hands it over; needs neither GPU nor driver."""
    import cupy
    from cupy._core import _kernel, core
    from cupy.cuda import nvrtc

    rule = rule_of(name)
    infos = []
    for parameter in rule.kernel.params:
        if parameter.name in ("decay", *rule.numbers._fields):
            infos.append(_kernel._ArgInfo(3, np.float32, np.float32, 0, True, True))
        elif parameter.name == "_ind":
            infos.append(_kernel._ArgInfo(2, object, None, 1, True, True))
        else:
            infos.append(_kernel._ArgInfo(1, cupy.ndarray, np.float32, 1, True, True))
    kernel = rule.kernel
    source = "".join(f"#include <{header}>\n" for header in core._cupy_header_list)
    source += _kernel._get_elementwise_kernel_code(
        tuple(infos),
        _kernel._TypeMap(()),
        kernel.params,
        kernel.operation,
        kernel.name,
        kernel.preamble,
    )
    program = nvrtc.createProgram(source, f"{name}.cu", [], [])
    # cupy.cuda.compiler adds -ftz=true to whatever it is given.
    options = [*core.assemble_cupy_compiler_options(()), "-ftz=true", f"-arch={target}"]
    try:
        nvrtc.compileProgram(program, options)
    except nvrtc.NVRTCError as error:
        raise AssertionError(nvrtc.getProgramLog(program)) from error
    return program


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("name", NAMES)
def test_nvrtc_keeps_every_rounding_and_subnormal_numbers(name: str, architecture: str) -> None:
    """In PTX, which names every operation; the machine code of the architecture is made too."""
    nvrtc = pytest.importorskip("cupy", reason="CuPy is not installed here").cuda.nvrtc
    text = nvrtc.getPTX(as_cupy_compiles_it(name, f"compute_{architecture}")).decode()
    found = Counter(re.findall(r"\b[a-z]+\.[a-z.]*f32\b", text))
    written = Counter(f"{word[:-3]}.rn.f32" for word in re.findall(r"\w+_rn", rule_of(name).body))
    moves = {key for key in found if key.split(".")[0] in ("ld", "st", "mov", "cvta")}
    assert {key: count for key, count in found.items() if key not in moves} == written
    assert nvrtc.getCUBIN(as_cupy_compiles_it(name, f"sm_{architecture}"))


@pytest.mark.gpu
@pytest.mark.parametrize("name", NAMES)
def test_a_gpu_gives_the_bits_of_numpy(name: str) -> None:
    import cupy

    arrays = hard_arrays(name)
    w, gradient, *states = (cupy.asarray(array) for array in arrays)
    rule_of(name)(w, gradient, tuple(states), *numbers_of(name))
    found = [cupy.asnumpy(array) for array in (w, *states)]
    assert differences(found, on_host(name, arrays)) == 0
