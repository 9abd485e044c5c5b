"""GPUs and their driver: facts in, the whole finding out."""

from __future__ import annotations

from typing import Optional

import pytest

from manifests.host.finding import (
    Finding,
    fail,
    ok,
    warn,
)
from manifests.host.gpus import Driver, Gpus, gpu_finding, parse_asked, parse_names


def test_the_driver_that_nvidia_smi_tells() -> None:
    assert parse_asked("535.129.03\n535.129.03\n") == "535.129.03"
    assert parse_asked("No devices were found\n") is None
    assert parse_asked("") is None


@pytest.mark.parametrize(
    ("needed", "gpus", "finding"),
    [
        (None, Gpus(Driver()), ok("stack cuda12 needs none")),
        (
            "525.60.13",
            Gpus(Driver()),
            fail(
                "no NVIDIA driver is loaded, and stack cuda12 needs 525.60.13 or newer",
                "run on a host with NVIDIA GPUs and their driver, or take `--stack cpu`",
            ),
        ),
        (
            "525.60.13",
            Gpus(Driver("470.256.02"), ("Tesla P100",)),
            fail(
                "the NVIDIA driver is 470.256.02, and stack cuda12 needs 525.60.13 or newer",
                "ask your administrator for a newer driver, or take `--stack cpu`",
            ),
        ),
        (
            "525.60.13",
            Gpus(Driver(unread="NVRM version: something")),
            warn(
                "the NVIDIA driver's version cannot be read from /proc/driver/nvidia/version: "
                "'NVRM version: something', and nvidia-smi does not tell it; "
                "stack cuda12 needs 525.60.13 or newer",
                "make `nvidia-smi` work on this host",
            ),
        ),
        (
            "525.60.13",
            Gpus(Driver("525.60.13"), problem="`nvidia-smi` could not be started: No such file"),
            warn(
                "NVIDIA driver 525.60.13, but no GPU: "
                "`nvidia-smi` could not be started: No such file",
                "make `nvidia-smi` work on this host",
            ),
        ),
        (
            "525.60.13",
            Gpus(Driver("1000.1"), parse_names("Tesla P100\nTesla P100\nA100\n")),
            ok("NVIDIA driver 1000.1, 2 x Tesla P100, 1 x A100"),
        ),
    ],
)
def test_gpus(needed: Optional[str], gpus: Gpus, finding: Finding) -> None:
    assert gpu_finding("cuda12", needed, gpus) == finding
