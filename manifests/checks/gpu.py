"""GPUs and their driver against what the stack's CUDA needs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Tuple

from manifests.checks.finding import Finding, fail, ok, warn

#: Written by the loaded kernel module; not there without one.
VERSION_FILE = Path("/proc/driver/nvidia/version")
#: The first line of /proc/driver/nvidia/version, of the closed and of the open kernel module.
DRIVER = re.compile(r"Kernel Module\s+(?:for \S+\s+)?(\d+(?:\.\d+)+)")
NO_DRIVER = "run on a host with NVIDIA GPUs and their driver, or take the stack cpu"
NEWER = "ask your administrator for a newer driver, or take the stack cpu"


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


def too_old(driver: str, needed: str) -> bool:
    return numbers(driver) < numbers(needed)


def driver_fault(stack: str, needed: str, driver: Optional[str]) -> Optional[Finding]:
    """``needed`` is the oldest driver that serves the stack, ``driver`` the loaded one."""
    if driver is None:
        return fail(
            f"no NVIDIA driver is loaded, and stack {stack} needs {needed} or newer", NO_DRIVER
        )
    if too_old(driver, needed):
        return fail(
            f"the NVIDIA driver is {driver}, and stack {stack} needs {needed} or newer", NEWER
        )
    return None


def gpu_finding(stack: str, needed: Optional[str], gpus: Gpus) -> Finding:
    """``needed`` as in driver_fault; None: the stack needs no GPU."""
    if needed is None:
        return ok(f"stack {stack} needs none")
    fault = driver_fault(stack, needed, gpus.driver)
    if fault is not None:
        return fault
    if not gpus.names:
        why = gpus.problem or "nvidia-smi lists none"
        return warn(
            f"NVIDIA driver {gpus.driver}, but no GPU: {why}", "make `nvidia-smi` work on this host"
        )
    kinds = ", ".join(f"{gpus.names.count(name)} x {name}" for name in dict.fromkeys(gpus.names))
    return ok(f"NVIDIA driver {gpus.driver}, {kinds}")
