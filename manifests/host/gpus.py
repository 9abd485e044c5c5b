"""GPUs and their driver against what the stack's CUDA needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Tuple

from manifests.host.finding import Finding, fail, ok, warn
from manifests.record.driver_version import VERSION_FILE, parse_version, too_old

NO_DRIVER = "run on a host with NVIDIA GPUs and their driver"
NEWER = "ask your administrator for a newer driver"


@dataclass(frozen=True)
class Driver:
    """``version`` None: nothing tells it. ``unread`` is the first line of VERSION_FILE then, None
    where there is no such file: no driver is loaded."""

    version: Optional[str] = None
    unread: Optional[str] = None


@dataclass(frozen=True)
class Gpus:
    """``names`` are the GPUs that nvidia-smi lists, ``problem`` why it does not."""

    driver: Driver
    names: Tuple[str, ...] = ()
    problem: str = ""


def parse_asked(printed: str) -> Optional[str]:
    """What `nvidia-smi --query-gpu=driver_version --format=csv,noheader` printed, a line for each
    GPU -> the version, None for any other text."""
    return parse_version((printed.split() or [""])[0])


def parse_names(listed: str) -> Tuple[str, ...]:
    """What `nvidia-smi --query-gpu=name --format=csv,noheader` printed -> names."""
    return tuple(line.strip() for line in listed.splitlines() if line.strip())


def driver_fault(stack: str, needed: str, driver: Driver, instead: str) -> Optional[Finding]:
    """``needed`` is the oldest driver that serves the stack; ``instead`` ends the advice.

    A driver that does not tell its version is warned of: CUDA itself refuses it if it must.
    """
    wanted = f"stack {stack} needs {needed} or newer"
    if driver.version is not None:
        if not too_old(driver.version, needed):
            return None
        return fail(f"the NVIDIA driver is {driver.version}, and {wanted}", f"{NEWER}, {instead}")
    if driver.unread is None:
        return fail(f"no NVIDIA driver is loaded, and {wanted}", f"{NO_DRIVER}, {instead}")
    return warn(
        f"the NVIDIA driver's version cannot be read from {VERSION_FILE}: {driver.unread!r}, and "
        f"nvidia-smi does not tell it; {wanted}",
        "make `nvidia-smi` work on this host",
    )


def gpu_finding(
    stack: str, needed: Optional[str], gpus: Gpus, instead: str = "or take `--stack cpu`"
) -> Finding:
    """``needed`` and ``instead`` as in driver_fault; ``needed`` None: the stack needs no GPU."""
    if needed is None:
        return ok(f"stack {stack} needs none")
    fault = driver_fault(stack, needed, gpus.driver, instead)
    if fault is not None:
        return fault
    driver = f"NVIDIA driver {gpus.driver.version}"
    if not gpus.names:
        why = gpus.problem or "nvidia-smi lists none"
        return warn(f"{driver}, but no GPU: {why}", "make `nvidia-smi` work on this host")
    kinds = ", ".join(f"{gpus.names.count(name)} x {name}" for name in dict.fromkeys(gpus.names))
    return ok(f"{driver}, {kinds}")
