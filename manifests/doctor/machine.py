"""Processor, cores, memory and limits of this host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping, Optional, Tuple

from manifests.host.finding import Finding, fail, ok, together, warn
from manifests.record.schema import Promises

GIB = 1024**3
#: A rule of thumb for a rank with a small network and its loaders.
LEAST_PER_CORE = GIB
#: A checkpoint of AlexNet is 0.5 GB.
LEAST_FILE = GIB


def gib(size: float) -> str:
    return f"{size / GIB:.1f} GiB"


@dataclass(frozen=True)
class Processor:
    model: str
    architecture: str  # as `uname -m` says it


def processor_finding(processor: Processor, promises: Promises) -> Finding:
    """For a processor with all promised features; for any other there is Trouble."""
    if processor.architecture != promises.architecture:
        return fail(
            f"{processor.architecture}: the image is made for {promises.architecture}",
            f"run on a host of {promises.architecture}",
        )
    features = ", ".join(promises.cpu_features)
    return ok(f"{processor.model}, has {features}: the promised bits")


@dataclass(frozen=True)
class Cores:
    """``usable`` by this process, of ``online``; ``quota``: the cgroup's cores of time."""

    usable: int
    online: int
    quota: Optional[float] = None


def cores_finding(cores: Cores) -> Finding:
    of = "" if cores.usable == cores.online else f" of {cores.online}"
    found = f"{cores.usable}{of} can be used"
    if cores.quota is not None and cores.quota < cores.usable:
        return warn(
            f"{found}, but their control group gets the time of {cores.quota:g}",
            f"keep ranks and their loaders at {max(1, int(cores.quota))} in all",
        )
    return ok(found)


@dataclass(frozen=True)
class Memory:
    """Bytes: the machine's, what is available now, and the cgroup's limit and use."""

    total: int
    available: int
    limit: Optional[int] = None
    used: int = 0


def memory_finding(memory: Memory, cores: int) -> Finding:
    """``cores`` stand for as many ranks."""
    available, of = memory.available, f"{gib(memory.total)}"
    if memory.limit is not None and memory.limit < memory.total:
        available = min(available, max(0, memory.limit - memory.used))
        of = f"{gib(memory.limit)} that the control group allows"
    found = f"{gib(available)} available of {of}"
    if available < LEAST_PER_CORE * cores:
        return warn(
            f"{found}: less than 1 GiB for each of {cores} cores",
            "use fewer ranks (ranks_per_node) and smaller batches, or another host",
        )
    return ok(found)


#: name, flag of `ulimit`, bytes of its unit, the least that runs need, what goes wrong.
LIMITS: Tuple[Tuple[str, str, int, int, str], ...] = (
    ("address space", "-v", 1024, 16 * GIB, "ranks end with MemoryError"),
    ("processes", "-u", 1, 512, "loaders cannot be started"),
    ("open files", "-n", 1, 1024, "MPI and loaders run out of them"),
    ("file size", "-f", 1024, LEAST_FILE, "checkpoints are cut off"),
    ("processor time", "-t", 1, 86400, "long work is killed"),
)
LOCKED = ("locked memory", "-l", 1024)
#: Not more than a hint: Open MPI's FAQ on InfiniBand asks for no limit at all.
LEAST_LOCKED = 64 * 1024**2


def limits_finding(
    limits: Mapping[str, Tuple[Optional[int], Optional[int]]], several: bool
) -> Finding:
    """``limits``: flag of `ulimit` -> (soft, hard) in bytes or pieces, None for unlimited.

    ``several``: jobs span nodes, so that memory must be locked for their network.
    """
    wanted = [*LIMITS]
    if several:
        wanted.append((*LOCKED, LEAST_LOCKED, "InfiniBand cannot register its buffers"))
    findings = []
    for name, flag, unit, least, consequence in wanted:
        soft, hard = limits.get(flag, (None, None))
        if soft is None or soft >= least:
            continue
        raised = hard is None or hard >= least
        advice = f"run `ulimit {flag} {least // unit}` first"
        if not raised:
            advice = f"ask your administrator for a higher limit (`ulimit {flag}`)"
        found = f"{name} (ulimit {flag}) {soft // unit}, below {least // unit}: {consequence}"
        findings.append(warn(found, advice))
    return together(findings, "none that a run would meet")
