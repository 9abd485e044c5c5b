"""How tests get at the image's Python and its GPUs: inside of the image, or from the host.

Inside, or in any Python that has Chainer, it is this Python. From the host each process enters the
image by the host's container program, as the ranks of a job do.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any, List, Tuple

from manifests.config.determinism import has_gpus
from manifests.record.driver_version import VERSION_FILE

PROJECT = Path(__file__).resolve().parents[2]
IN_IMAGE = importlib.util.find_spec("chainer") is not None
GPU_STACK = "cuda12"

LOOK = """
import json, cupy
runtime = cupy.cuda.runtime
found = [runtime.getDeviceProperties(number) for number in range(runtime.getDeviceCount())]
print(json.dumps([f"{facts['major']}.{facts['minor']}" for facts in found]))
"""


@cache
def image_exec(stack: str = "cpu") -> Tuple[str, ...]:
    """``singularity exec … IMAGE`` on the image of a stack, which is built if it is not there."""
    from container.build import build_image
    from container.cache import Cache, cache_root
    from container.recipe import load_recipe
    from container.runtime import find_runtime
    from container.sources import deb_source, wheel_source

    runtime = find_runtime(PROJECT, os.environ)
    image = build_image(
        load_recipe(PROJECT, stack),
        Cache(cache_root(os.environ)),
        runtime=runtime,
        deb_source=deb_source(None),
        wheel_source=wheel_source(),
    )
    words = runtime.exec_argv(image.path, [])
    gpus = ["--nv"] if has_gpus(stack) else []
    binds = ["--bind", f"{PROJECT}:{PROJECT}:ro"]
    return (words[0], "--quiet", *words[1:-1], *gpus, *binds, words[-1])


def image_python(folder: Path, stack: str = "cpu") -> List[str]:
    """The image's Python: this one inside of it, else the stack's with ``folder`` bound."""
    if IN_IMAGE:
        return [sys.executable]
    *options, image = image_exec(stack)
    return [*options, "--bind", str(folder), image, "python3"]


@cache
def capabilities_here() -> Tuple[str, ...]:
    """Compute capability of each GPU that CuPy in this Python can use, as in ``("9.0",)``."""
    if importlib.util.find_spec("cupy") is None:
        return ()
    return printed_by([sys.executable, "-c", LOOK])


@cache
def capabilities() -> Tuple[str, ...]:
    """The same of the GPUs that ranks can use: from the host those that the image sees.

    Without a driver nothing is started, and without an image for GPUs nothing is built.
    """
    if IN_IMAGE:
        return capabilities_here()
    if not VERSION_FILE.exists() or not is_built(GPU_STACK):
        return ()
    return printed_by([*image_python(PROJECT, GPU_STACK), "-c", LOOK])


def is_built(stack: str) -> bool:
    from container.cache import Cache, cache_root
    from container.image import recorded_image
    from container.recipe import load_recipe

    return recorded_image(load_recipe(PROJECT, stack), Cache(cache_root(os.environ))) is not None


def printed_by(command: List[str]) -> Tuple[str, ...]:
    """What LOOK printed; nothing where CuPy or the driver does not work."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    try:
        found: Any = json.loads(done.stdout)
    except ValueError:
        return ()
    return tuple(found)
