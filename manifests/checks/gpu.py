"""GPUs and their driver against what the stack's CUDA needs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Optional, Tuple

from manifests.checks.finding import Finding, fail, ok, warn

#: The first line of /proc/driver/nvidia/version, of the closed and of the open kernel module.
DRIVER = re.compile(r"Kernel Module\s+(?:for \S+\s+)?(\d+(?:\.\d+)+)")


@dataclass(frozen=True)
class Gpus:
    """``driver`` is the version of the loaded kernel module, None without one; ``names`` are the
    GPUs that nvidia-smi lists, ``problem`` why it does not."""

    driver: Optional[str]
    names: Tuple[str, ...] = ()
    problem: str = ""


def parse_driver(version_file: str) -> Optional[str]:
    """The text of /proc/driver/nvidia/version -> the version, None for any other text."""
    match = DRIVER.search(version_file)
    return match.group(1) if match else None


def parse_names(listed: str) -> Tuple[str, ...]:
    """What `nvidia-smi --query-gpu=name --format=csv,noheader` printed -> names."""
    return tuple(line.strip() for line in listed.splitlines() if line.strip())


def numbers(version: str) -> Tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def gpu_finding(stack: str, needed: Optional[str], gpus: Gpus) -> Finding:
    """``needed`` is the oldest driver that serves the stack; None: the stack needs no GPU."""
    if needed is None:
        return ok(f"stack {stack} needs none")
    if gpus.driver is None:
        return fail(
            f"no NVIDIA driver is loaded, and stack {stack} needs {needed} or newer",
            "run on a host with NVIDIA GPUs and their driver",
        )
    if numbers(gpus.driver) < numbers(needed):
        return fail(
            f"the NVIDIA driver is {gpus.driver}, and stack {stack} needs {needed} or newer",
            "ask your administrator for a newer driver",
        )
    if not gpus.names:
        why = gpus.problem or "nvidia-smi lists none"
        return warn(
            f"NVIDIA driver {gpus.driver}, but no GPU: {why}", "make `nvidia-smi` work on this host"
        )
    kinds = ", ".join(f"{gpus.names.count(name)} x {name}" for name in dict.fromkeys(gpus.names))
    return ok(f"NVIDIA driver {gpus.driver}, {kinds}")
