"""Processor, cores, memory, limits, control groups: facts in, the whole finding out."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any, Dict, Optional

from manifests.doctor import control_group
from manifests.doctor.machine import (
    GIB,
    Cores,
    Memory,
    Processor,
    cores_finding,
    limits_finding,
    memory_finding,
    processor_finding,
)
from manifests.host.finding import (
    fail,
    ok,
    warn,
)
from manifests.record.schema import Promises

ASK = "ask your administrator"


PROMISES = Promises(level="bitwise", cpu_features=["avx2", "fma"], architecture="x86_64")


def test_processors() -> None:
    assert processor_finding(Processor("Some CPU", "x86_64"), PROMISES) == ok(
        "Some CPU, has avx2, fma: the promised bits"
    )
    assert processor_finding(Processor("Some CPU", "aarch64"), PROMISES) == fail(
        "aarch64: the image is made for x86_64", "run on a host of x86_64"
    )


def test_cores() -> None:
    assert cores_finding(Cores(2, 2)) == ok("2 can be used")
    assert cores_finding(Cores(2, 8, quota=2.0)) == ok("2 of 8 can be used")
    assert cores_finding(Cores(64, 64, quota=1.5)) == warn(
        "64 can be used, but their control group gets the time of 1.5",
        "keep ranks and their loaders at 1 in all",
    )


def test_memory() -> None:
    advice = "use fewer ranks (ranks_per_node) and smaller batches, or another host"
    assert memory_finding(Memory(8 * GIB, 6 * GIB), 4) == ok("6.0 GiB available of 8.0 GiB")
    assert memory_finding(Memory(8 * GIB, 3 * GIB), 4) == warn(
        "3.0 GiB available of 8.0 GiB: less than 1 GiB for each of 4 cores", advice
    )
    assert memory_finding(Memory(64 * GIB, 60 * GIB, limit=4 * GIB, used=GIB), 4) == warn(
        "3.0 GiB available of 4.0 GiB that the control group allows: "
        "less than 1 GiB for each of 4 cores",
        advice,
    )
    huge = Memory(8 * GIB, 6 * GIB, limit=2**63 - 4096)
    assert memory_finding(huge, 4) == ok("6.0 GiB available of 8.0 GiB")


def test_limits() -> None:
    free: Dict[str, Any] = dict.fromkeys(("-v", "-u", "-n", "-f", "-t", "-l"), (None, None))
    assert limits_finding(free, several=True) == ok("none that a run would meet")
    assert limits_finding({**free, "-n": (256, None)}, several=False) == warn(
        "open files (ulimit -n) 256, below 1024: MPI and loaders run out of them",
        "run `ulimit -n 1024` first",
    )
    both = {**free, "-n": (256, 4096), "-v": (4 * GIB, 4 * GIB), "-l": (65536, 65536)}
    assert limits_finding(both, several=False) == warn(
        "address space (ulimit -v) 4194304, below 16777216: ranks end with MemoryError; "
        "open files (ulimit -n) 256, below 1024: MPI and loaders run out of them",
        f"{ASK} for a higher limit (`ulimit -v`); run `ulimit -n 1024` first",
    )
    assert limits_finding({**free, "-l": (65536, 65536)}, several=True) == warn(
        "locked memory (ulimit -l) 64, below 65536: InfiniBand cannot register its buffers",
        f"{ASK} for a higher limit (`ulimit -l`)",
    )


def reader(files: Dict[str, str]) -> control_group.Read:
    def read(path: PurePosixPath) -> Optional[str]:
        return files.get(str(path))

    return read


def test_control_groups_of_version_2() -> None:
    read = reader(
        {
            "/sys/fs/cgroup/user.slice/job/cpu.max": "max 100000\n",
            "/sys/fs/cgroup/user.slice/cpu.max": "150000 100000\n",
            "/sys/fs/cgroup/user.slice/job/memory.max": "max\n",
            "/sys/fs/cgroup/user.slice/memory.max": "1073741824\n",
            "/sys/fs/cgroup/user.slice/job/memory.current": "500\n",
            "/sys/fs/cgroup/user.slice/job/memory.stat": "anon 100\ninactive_file 300\n",
        }
    )
    assert control_group.quota("0::/user.slice/job\n", read) == 1.5
    assert control_group.memory_limit("0::/user.slice/job\n", read) == 1024**3
    assert control_group.memory_used("0::/user.slice/job\n", read) == 200


def test_control_groups_of_version_1() -> None:
    membership = "4:memory:/a\n3:cpu,cpuacct:/a/b\n1:name=systemd:/c\n"
    read = reader(
        {
            "/sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": "-1\n",
            "/sys/fs/cgroup/cpu/a/cpu.cfs_period_us": "100000\n",
            "/sys/fs/cgroup/cpu/a/b/cpu.cfs_quota_us": "400000\n",
            "/sys/fs/cgroup/cpu/a/b/cpu.cfs_period_us": "100000\n",
            "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "/sys/fs/cgroup/memory/a/memory.limit_in_bytes": "2048\n",
        }
    )
    assert control_group.quota(membership, read) == 4.0
    assert control_group.memory_limit(membership, read) == 2048
    assert control_group.quota(membership, reader({})) is None
    assert control_group.memory_limit(membership, reader({})) is None
    assert control_group.memory_used(membership, reader({})) == 0
