"""What the checks say of broken machines: facts in, the whole finding out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, Dict, Optional

import pytest

from container.recipe import load_recipe
from container.room import build_room, gb
from container.runtime import NO_RUNTIME, Runtime
from container.trouble import Trouble
from jobtemplates.mpi import HostMpi
from manifests.checks import control_group
from manifests.checks.finding import (
    Finding,
    as_values,
    counted,
    exit_code,
    fail,
    lines,
    of_trouble,
    ok,
    on_other_hosts,
    warn,
)
from manifests.checks.folder import (
    Folder,
    cache_finding,
    clock_finding,
    out_finding,
    shared_memory_finding,
    tmp_finding,
)
from manifests.checks.gpu import Driver, Gpus, gpu_finding, parse_asked, parse_driver, parse_names
from manifests.checks.machine import (
    GIB,
    Cores,
    Memory,
    Processor,
    cores_finding,
    limits_finding,
    memory_finding,
    processor_finding,
)
from manifests.checks.mpi import launch_finding, mpi_finding
from manifests.checks.packages import (
    Packages,
    git_finding,
    packages_finding,
    parse_git,
    parse_pins,
)
from manifests.checks.runtime import (
    Start,
    UserNamespaces,
    fuse_finding,
    namespaces_finding,
    program_finding,
    start_finding,
)
from manifests.checks.scheduler import SCHEDULERS, Commands, scheduler_finding
from manifests.schema import Promises

ASK = "ask your administrator"
SETUID = ", or to install apptainer with setuid"


# --- container ------------------------------------------------------------------------------


def program(family: str, version: str) -> Runtime:
    return Runtime(Path("/usr/bin/program"), family, version)


@pytest.mark.parametrize(
    ("family", "version", "found"),
    [
        ("apptainer", "1.4.5", "Apptainer 1.4.5 (/usr/bin/program), without setuid"),
        ("apptainer", "1.0.3-1.el8", "Apptainer 1.0.3-1.el8 (/usr/bin/program), without setuid"),
        ("singularity-ce", "3.10.0", "SingularityCE 3.10.0 (/usr/bin/program), without setuid"),
    ],
)
def test_a_program_that_serves(family: str, version: str, found: str) -> None:
    assert program_finding(program(family, version), setuid=False) == ok(found)


def test_setuid_is_named() -> None:
    found = "SingularityPRO 4.1.0 (/usr/bin/program), with setuid"
    assert program_finding(program("singularity-pro", "4.1.0"), setuid=True) == ok(found)


@pytest.mark.parametrize(
    ("family", "version", "title"),
    [
        ("singularity", "3.8.7-1.el7", "Singularity 3.8.7-1.el7"),
        ("singularity-ce", "3.8.4", "SingularityCE 3.8.4"),
        ("apptainer", "0.1.0", "Apptainer 0.1.0"),
    ],
)
def test_a_program_that_is_too_old(family: str, version: str, title: str) -> None:
    assert program_finding(program(family, version), setuid=True) == fail(
        f"{title} (/usr/bin/program) is too old: it has no `exec --mount`",
        f"it takes Apptainer 1.0, SingularityCE 3.9 or newer: {NO_RUNTIME}",
    )


@pytest.mark.parametrize(
    ("facts", "found", "advice"),
    [
        (
            UserNamespaces((), clone=0, most=0),
            "forbidden: kernel.unprivileged_userns_clone is 0",
            f"{ASK} for `sysctl -w kernel.unprivileged_userns_clone=1`",
        ),
        (
            UserNamespaces((), clone=1, most=0),
            "forbidden: user.max_user_namespaces is 0",
            f"{ASK} for `sysctl -w user.max_user_namespaces=15000`",
        ),
        (
            UserNamespaces((), most=90000, apparmor=1),
            "forbidden: kernel.apparmor_restrict_unprivileged_userns is 1",
            f"{ASK} for an AppArmor profile that allows userns to unshare and to the container "
            "program, for `sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`",
        ),
        (
            UserNamespaces((), most=90000, apparmor=0),
            "forbidden, though the kernel's settings allow them: is this a container?",
            f"{ASK} to allow them (in a container: its seccomp profile)",
        ),
    ],
)
def test_no_user_namespaces(facts: UserNamespaces, found: str, advice: str) -> None:
    assert namespaces_finding(facts, setuid=False) == fail(found, advice + SETUID)
    assert namespaces_finding(facts, setuid=True) == warn(
        f"{found}: images are run by setuid, but none can be built",
        f"{advice}; or build elsewhere and copy the cache",
    )


@pytest.mark.parametrize(
    ("isolation", "kept"),
    [
        (("unshare", "--user", "--net", "--pid"), "no network and processes of their own"),
        (("unshare", "--user", "--net"), "no network"),
        (("unshare", "--user"), "no further isolation"),
    ],
)
def test_how_builds_are_isolated(isolation: Any, kept: str) -> None:
    # What the trial says goes before what the settings would let expect.
    facts = UserNamespaces(isolation, clone=0)
    assert namespaces_finding(facts, setuid=False) == ok(f"allowed; builds run with {kept}")


def test_dev_fuse() -> None:
    assert fuse_finding(usable=True, setuid=False) == ok("can be opened")
    assert fuse_finding(usable=False, setuid=True).state == "ok"
    assert fuse_finding(usable=False, setuid=False) == warn(
        "cannot be opened: an image that cannot be mounted is unpacked at every start of a rank",
        f"{ASK} for `modprobe fuse` and mode 666 on /dev/fuse",
    )


def test_how_the_image_starts() -> None:
    assert start_finding(Start((), 0.123)) == ok("`exec` works, 0.12 s a start")
    assert start_finding(Start(("--userns",), 0.2)) == ok("`exec --userns` works, 0.20 s a start")
    assert start_finding(Start(("--unsquash",), 3.21)) == warn(
        "`exec --unsquash` works, 3.21 s a start: the image is unpacked into TMPDIR each time",
        f"{ASK} for squashfuse and /dev/fuse, or for apptainer with setuid",
    )


# --- folders --------------------------------------------------------------------------------

CACHE = Folder(Path("/home/u/.cache/bundle"), free=3 * 10**9, skew=0.0)
ELSEWHERE = "free some space there, or choose another folder by BUNDLE_CACHE"


def test_a_cache_with_room_for_what_is_to_come() -> None:
    found = ok("/home/u/.cache/bundle, 3.0 GB free")
    assert cache_finding(CACHE, 3 * 10**9) == found
    assert cache_finding(CACHE, 12 * 10**9) == warn(
        "/home/u/.cache/bundle, 3.0 GB free: a build takes about 12.0 GB more", ELSEWHERE
    )


@pytest.mark.parametrize(("stack", "room"), [("cpu", "0.8 GB"), ("cuda12", "7.4 GB")])
def test_a_build_takes_so_much(stack: str, room: str) -> None:
    """Measured with du while it was built, and what the pages say."""
    project = Path(__file__).resolve().parents[3]
    lock = load_recipe(project, stack).lock
    assert gb(build_room(lock)) == room
    fetched = f"{sum(file.size for file in lock.all_files) / 1e9:.2f} GB"
    page = (project / "docs/image.md").read_text(encoding="utf-8")
    (line,) = [line for line in page.splitlines() if line.startswith(f"| `{stack}`")]
    assert line.endswith(f"| {fetched} | {room} |")
    for name in ("README.md", "docs/doctor.md"):
        assert room in (project / name).read_text(encoding="utf-8")


def test_a_full_disk() -> None:
    full = Folder(CACHE.path, "cannot be written: No space left on device")
    assert cache_finding(full, 1) == fail(
        "/home/u/.cache/bundle: cannot be written: No space left on device", ELSEWHERE
    )
    assert clock_finding(full).state == "warn"
    assert out_finding([full, CACHE]) == warn(
        "/home/u/.cache/bundle: cannot be written: No space left on device",
        "free space or restore its mode before the next run there",
    )
    assert tmp_finding(full) == fail(
        "/home/u/.cache/bundle: cannot be written: No space left on device",
        "set TMPDIR to a folder that you may write",
    )


@pytest.mark.parametrize(("skew", "where"), [(-61.0, "61 s behind"), (4.0, "4 s ahead of")])
def test_clocks_that_differ(skew: float, where: str) -> None:
    assert clock_finding(replace(CACHE, skew=skew)) == warn(
        f"times of files in /home/u/.cache/bundle are {where} this host's clock",
        f"{ASK} to set the clocks (NTP); times in logs cannot be compared",
    )


@pytest.mark.parametrize("skew", [-2.0, -0.004, 0.0, 2.5])
def test_clocks_that_agree(skew: float) -> None:
    assert clock_finding(replace(CACHE, skew=skew)).state == "ok"


def test_out_folders() -> None:
    small = Folder(Path("/scratch/runs"), free=5 * 10**8)
    assert out_finding([]) == ok("no run was submitted from this account yet")
    assert out_finding([CACHE]) == ok("1 known, 3.0 GB free or more (/home/u/.cache/bundle)")
    assert out_finding([CACHE, small]) == warn(
        "/scratch/runs: only 0.5 GB free",
        "delete runs or checkpoints that nobody needs, or choose another `out`",
    )


def test_tmpdir() -> None:
    assert tmp_finding(Folder(Path("/tmp"), free=2 * 10**9)) == ok("/tmp, 2.0 GB free")
    assert tmp_finding(Folder(Path("/tmp"), free=10**8)).state == "warn"
    assert tmp_finding(Folder(Path("tmp"), free=2 * 10**9)) == warn(
        "TMPDIR is 'tmp', no absolute path: jobs run as if it were not set",
        "unset TMPDIR, or give the whole path",
    )


def test_shared_memory() -> None:
    docker = Folder(Path("/dev/shm"), free=64 * 1024**2)
    assert shared_memory_finding(docker, cores=16).state == "ok"
    assert shared_memory_finding(docker, cores=48) == warn(
        "/dev/shm: 67 MB free, and MPI takes up to 201 MB for 48 ranks",
        f"{ASK} for a larger /dev/shm (in Docker: --shm-size=1g)",
    )


# --- MPI ------------------------------------------------------------------------------------


def test_mpi_of_the_image_s_version_and_of_another() -> None:
    assert mpi_finding(HostMpi("Open MPI", "4.1.4"), "/usr/bin/mpirun", "4.1.4") == ok(
        "Open MPI 4.1.4 (/usr/bin/mpirun), as in the image"
    )
    assert mpi_finding(HostMpi("Open MPI", "5.0.3"), "/usr/bin/mpirun", "4.1.4") == warn(
        "mpirun is Open MPI 5.0.3 and the image has Open MPI 4.1.4: this pair usually works, but "
        "only equal versions were tested",
        "use Open MPI 4.1.4 where you can choose (`module avail openmpi`), "
        "or try it: bundle.py doctor --job",
    )


def test_a_trial_of_mpirun() -> None:
    found = "2 processes started and ended in 0.50 s"
    assert launch_finding(2, 0.5, as_root=False) == ok(found)
    assert launch_finding(2, 0.5, as_root=True) == ok(f"{found}, as root with --allow-run-as-root")


# --- machine --------------------------------------------------------------------------------

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


# --- GPUs -----------------------------------------------------------------------------------

CLOSED = (
    "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19 18:56:32 UTC 2023\n"
)
OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  550.54.14  Release Build\n"


def test_driver_versions() -> None:
    assert parse_driver(CLOSED + "GCC version:  gcc 12\n") == "535.129.03"
    assert parse_driver(OPEN) == "550.54.14"
    assert parse_driver("") is None
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


# --- programs -------------------------------------------------------------------------------

PINS = """\
click==8.1.8 ; python_full_version < '3.10' \\
    --hash=sha256:00 \\
    --hash=sha256:01
    # via -r host.in
click==8.5.1 ; python_full_version >= '3.10' \\
    --hash=sha256:02
jinja2==3.1.6 \\
    --hash=sha256:03
"""


def test_pins_of_the_requirements() -> None:
    old, new = {"python_full_version": "3.9.2"}, {"python_full_version": "3.12.1"}
    assert parse_pins(PINS, old) == {"click": "8.1.8", "jinja2": "3.1.6"}
    assert parse_pins(PINS, new) == {"click": "8.5.1", "jinja2": "3.1.6"}


def test_packages() -> None:
    wanted = {"click": "8.5.1", "jinja2": "3.1.6"}
    good = Packages("3.11.2", wanted, {**wanted}, stamped=True)
    assert packages_finding(good) == ok("Python 3.11.2, 2 packages as pinned")
    assert packages_finding(replace(good, stamped=False)) == warn(
        "Python 3.11.2: .venv was not made from requirements/host.txt as it is now",
        "run: make setup",
    )
    other = replace(good, installed={**wanted, "click": "8.0"})
    assert packages_finding(other) == warn(
        "Python 3.11.2: click 8.0, expected 8.5.1", "run: make setup"
    )
    broken = replace(good, installed={"click": "8.0", "jinja2": None})
    assert packages_finding(broken) == fail(
        "Python 3.11.2: click 8.0, expected 8.5.1; jinja2 missing, expected 3.1.6",
        "run: make setup",
    )


def test_git() -> None:
    assert parse_git("git version 2.39.5 (Apple Git-154)\n") == "2.39.5"
    assert parse_git("hub 1") is None
    assert git_finding("2.39.5", 7) == ok("git 2.39.5, 7 files are tracked")
    takes_all = "the project is no checkout: a run takes all its files"
    assert git_finding("2.39.5", None) == ok(f"git 2.39.5; {takes_all}")
    assert git_finding(None, None) == ok(f"no git, and {takes_all}")


def there(scheduler: str) -> Dict[str, Optional[str]]:
    return {name: f"/opt/bin/{name}" for name in SCHEDULERS[scheduler].commands}


@pytest.mark.parametrize(
    ("scheduler", "answer", "found"),
    [
        # As Debian's slurm-client and gridengine-client print it; that of PBS was not tried.
        (
            "slurm",
            "slurm-wlm 22.05.8\n",
            "Slurm 22.05.8 (/opt/bin/sbatch): sbatch, squeue, scancel, scontrol",
        ),
        (
            "slurm",
            "slurm 23.11.4\n",
            "Slurm 23.11.4 (/opt/bin/sbatch): sbatch, squeue, scancel, scontrol",
        ),
        (
            "gridengine",
            "SGE 8.1.9\nusage: qstat [options]\n",
            "Grid Engine SGE 8.1.9 (/opt/bin/qsub): qsub, qstat, qdel, qacct",
        ),
        ("pbs", "pbs_version = 20.0.1\n", "PBS 20.0.1 (/opt/bin/qsub): qsub, qstat, qdel"),
    ],
)
def test_schedulers(scheduler: str, answer: str, found: str) -> None:
    assert scheduler_finding("x", scheduler, Commands(there(scheduler), answer)) == ok(found)


def test_a_scheduler_that_is_not_whole() -> None:
    assert scheduler_finding("local", "local", None) == ok("site local has none")
    some = {**there("slurm"), "sbatch": None, "scontrol": None}
    assert scheduler_finding("mine", "slurm", Commands(some)) == fail(
        "site mine: no sbatch, scontrol on PATH",
        "work on a host from which Slurm jobs are submitted, or load its module",
    )
    silent = Commands(there("slurm"), problem="`sbatch --version` did not end within 20 s")
    assert scheduler_finding("mine", "slurm", silent) == fail(
        "Slurm (/opt/bin/sbatch) does not answer: `sbatch --version` did not end within 20 s",
        "make `sbatch --version` work on this host (is it one that submits jobs?)",
    )
    away = Commands(there("slurm"), "slurm 22.05.8\n", silence="Unable to contact slurm controller")
    assert scheduler_finding("mine", "slurm", away) == fail(
        "Slurm does not answer: Unable to contact slurm controller",
        "nothing can be submitted from here; try again later, or ask your administrator",
    )
    assert scheduler_finding("mine", "pbs", Commands(there("pbs"), "hello\nyou\n")) == warn(
        "PBS of unknown version (/opt/bin/qsub): `qstat --version` says 'hello'",
        "see whether these commands are the scheduler's own",
    )


# --- the table ------------------------------------------------------------------------------


def test_the_table() -> None:
    trouble = Trouble(["the image was altered", "  and more"], "build it again")
    findings = {"cores": ok("2 can be used"), "image": of_trouble(trouble), "MPI": warn("a", "b")}
    assert lines(findings) == [
        ("ok", "cores  2 can be used", ""),
        (
            "fail",
            "image  the image was altered",
            "\n               and more\n" + " " * 13 + "-> build it again",
        ),
        ("warn", "MPI    a", "\n             -> b"),
    ]
    assert counted(findings) == "1 ok, 1 warn, 1 fail"
    assert exit_code(findings) == 2
    assert exit_code({"MPI": findings["MPI"]}) == 0
    assert as_values(findings)[2] == {
        "check": "MPI",
        "state": "warn",
        "found": "a",
        "advice": "b",
    }


def test_what_fails_on_a_login_node_is_a_warning_for_its_nodes() -> None:
    assert on_other_hosts(fail("no driver", "x"), "abci3") == warn(
        "no driver (on this host; jobs of site abci3 run on others)", "x"
    )
    assert on_other_hosts(ok("fine"), "abci3") == ok("fine")
