"""CUDA kernels without a GPU: their text run by a C compiler, or compiled by NVRTC for each GPU."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path
from typing import Any, Mapping

import numpy as np
import pytest

COMPILER = shutil.which("cc")
#: CUDA's names of what the stack holds native code for: Pascal, Volta, Ampere, Hopper.
ARCHITECTURES = ["60", "70", "80", "90"]

needs_compiler = pytest.mark.skipif(COMPILER is None, reason="there is no C compiler here")


def c_library(source: str, folder: Path, *flags: str) -> Any:
    """The text as a loaded library."""
    text, library = folder / "kernel.c", folder / "kernel.so"
    text.write_text(source)
    command = [str(COMPILER), "-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run([*command, *flags, str(text), "-o", str(library), "-lm"], check=True)
    return ctypes.CDLL(str(library))


def nvrtc_program(source: str, architecture: str) -> Any:
    """Compiled as CuPy does it, to PTX (``compute_70``) or to native code (``sm_70``)."""
    from cupy._core import core
    from cupy.cuda import nvrtc

    program = nvrtc.createProgram(source, "kernel.cu", [], [])
    # cupy.cuda.compiler adds -ftz=true to whatever it is given.
    options = [*core.assemble_cupy_compiler_options(()), "-ftz=true", f"-arch={architecture}"]
    try:
        nvrtc.compileProgram(program, options)
    except nvrtc.NVRTCError as error:
        raise AssertionError(nvrtc.getProgramLog(program)) from error
    return program


def elementwise_source(kernel: Any, types: Mapping[str, Any], arrays: Mapping[str, Any]) -> str:
    """What CuPy makes of an ElementwiseKernel for flat arrays; all other arguments are numbers.

    ``types`` are those of its letters, ``arrays`` the element types of the arguments that are
    arrays.
    """
    import cupy
    from cupy._core import _kernel, core

    infos = []
    for parameter in kernel.params:
        if parameter.name == "_ind":
            infos.append(_kernel._ArgInfo(2, object, None, 1, True, True))
        elif parameter.name in arrays:
            dtype = np.dtype(arrays[parameter.name]).type
            infos.append(_kernel._ArgInfo(1, cupy.ndarray, dtype, 1, True, True))
        else:
            dtype = parameter.dtype or types[parameter.ctype]
            infos.append(_kernel._ArgInfo(3, dtype, dtype, 0, True, True))
    source = "".join(f"#include <{header}>\n" for header in core._cupy_header_list)
    return source + str(
        _kernel._get_elementwise_kernel_code(
            tuple(infos),
            _kernel._TypeMap(tuple(types.items())),
            kernel.params,
            kernel.operation,
            kernel.name,
            kernel.preamble,
        )
    )
