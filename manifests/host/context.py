"""HostContext: what the flows must know of this host and account, gathered once at the edge."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Callable, FrozenSet, Iterable, Mapping, Optional

from container.cache import Cache, cache_of
from container.progress import Progress
from manifests.datasets.cache_folder import CacheFolder, OnlyRead

if TYPE_CHECKING:
    from container.ahead import Ahead
    from container.runtime import Runtime
    from manifests.host.gpus import Driver

TOOL_VERSION = "0.1.0"


def loaded_driver() -> Driver:
    """Asked only by who needs it: where the driver's own file does not tell, a command must."""
    from manifests.host.asking import look_at_driver

    return look_at_driver()


@dataclass(frozen=True)
class HostContext:
    project: Path
    cache: Cache
    environ: Mapping[str, str]
    now: Callable[[], datetime]
    hostname: str
    user: str
    as_root: bool
    cpu_features: FrozenSet[str]
    cores: int  # that this process, and so a job of site local, may use
    progress: Progress
    nvidia_driver: Callable[[], Driver] = loaded_driver
    program_ahead: Optional[Ahead[Runtime]] = None  # manifests.host.container_program

    @property
    def home(self) -> Optional[Path]:
        """The account's home folder, as a shell expands ``~``; None where HOME names none."""
        home = self.environ.get("HOME", "")
        return Path(home) if home.startswith("/") else None

    def fingerprints(self, *, read_only: bool = False) -> CacheFolder:
        """Where digests of data sets are remembered; only asked in a dry run."""
        folder = self.cache.root / "fingerprints"
        return OnlyRead(folder) if read_only else folder

    def timestamp(self) -> str:
        """UTC, ISO 8601, whole seconds, with a Z."""
        return self.now().strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_cpu_features(cpuinfo: Iterable[str]) -> FrozenSet[str]:
    """The ``flags`` of the first processor in the lines of /proc/cpuinfo.

    No further line is asked for: the kernel makes the text of each processor when it is read.
    """
    for line in cpuinfo:
        name, _, value = line.partition(":")
        if name.strip() == "flags":
            return frozenset(value.split())
    return frozenset()


def user_name() -> str:
    """The name of the account that this process runs as; ``uid N`` where the machine has none, as
    in a container or a batch node.

    Not what USER and LOGNAME say: after sudo or su they may name another account, whose list of
    jobs shows none of ours.
    """
    import pwd

    try:
        name = pwd.getpwuid(os.getuid()).pw_name
        name.encode("utf-8")  # records hold it
    except (KeyError, OSError, UnicodeEncodeError):
        return f"uid {os.getuid()}"
    return name


def read_host_context(project: Path, progress: Progress) -> HostContext:
    with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as cpuinfo:
        features = parse_cpu_features(cpuinfo)
    return HostContext(
        project=project,
        cache=cache_of(os.environ),
        environ=dict(os.environ),
        now=lambda: datetime.now(timezone.utc),
        hostname=os.uname().nodename,
        user=user_name(),
        as_root=os.geteuid() == 0,
        cpu_features=features,
        cores=len(os.sched_getaffinity(0)),
        progress=progress,
    )
