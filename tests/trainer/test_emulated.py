"""The bits of another processor, without one: QEMU emulates it for the image's Python.

The promise is for any x86-64 with AVX2 and FMA. This machine may be another than the emulated ones.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import List

import pytest

from manifests.config.determinism import determinism_for
from manifests.host.emulator import PROGRAM
from tests.trainer.image import PROJECT, image_exec

pytestmark = pytest.mark.long


def steps_on(model: str = "") -> List[str]:
    """The lines of emulated_layers.py on an emulated processor, or on this one."""
    *options, image = image_exec()
    emulator = shutil.which(PROGRAM) or ""
    words = ["/bundle/emulator", "-cpu", f"{model},check=off"] if model else []
    binds = ["--mount", f"type=bind,source={emulator},destination=/bundle/emulator,ro"]
    knobs = determinism_for("cpu").environment
    settings = [word for name, value in knobs.items() for word in ("--env", f"{name}={value}")]
    command = ["/usr/bin/python3", "-W", "ignore", "-m", "tests.trainer.emulated_layers"]
    done = subprocess.run(
        [*options, *(binds if model else []), "--pwd", str(PROJECT), *settings, image, *words,
         *command],
        capture_output=True, text=True, timeout=600, check=False, cwd=PROJECT,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.skipif(shutil.which(PROGRAM) is None, reason=f"{PROGRAM} is not on PATH")
def test_layers_of_all_networks_have_the_bits_of_other_processors() -> None:
    here = steps_on()
    assert len(here) == 15
    assert len({line.split()[-1] for line in here}) == 15
    for model in ("Haswell", "EPYC-Milan"):
        assert steps_on(model) == here
