"""The end of benchmarks.gpu where nothing can be measured."""

from __future__ import annotations

import sys
from typing import NoReturn


def refuse(problem: str) -> NoReturn:
    """Exit code 2."""
    print(f"bench-gpu: nothing was measured: {problem}", file=sys.stderr)
    print(
        "-> run it on a machine with NVIDIA GPUs, with CuPy, Chainer and mpi4py: docs/gpu.md",
        file=sys.stderr,
    )
    sys.exit(2)
