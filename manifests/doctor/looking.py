"""The edge of the checks: what this host says of itself. Every command has a time limit."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Callable, Dict, Mapping, Optional, Tuple

from container.digest import sha256_of_file
from container.process import CommandFailed, run
from container.runtime import Runtime, build_prefix
from jobtemplates.launcher import mpirun_tokens
from jobtemplates.mpi import find_host_mpi
from jobtemplates.schedulers import SCHEDULERS
from jobtemplates.sites import Site
from manifests.doctor import control_group
from manifests.doctor.folder import WritableFolder
from manifests.doctor.machine import LIMITS, LOCKED, Cores, Memory, Processor
from manifests.doctor.packages import Packages, parse_git, parse_pins
from manifests.doctor.runtime import Start, UserNamespaces
from manifests.doctor.scheduler import Commands
from manifests.host.asking import answer, readable_text
from manifests.host.context import user_name
from manifests.host.git_checkout import git_files, is_checkout
from manifests.record.schema import World

RESOURCES = {
    "-v": resource.RLIMIT_AS,
    "-u": resource.RLIMIT_NPROC,
    "-n": resource.RLIMIT_NOFILE,
    "-f": resource.RLIMIT_FSIZE,
    "-t": resource.RLIMIT_CPU,
    "-l": resource.RLIMIT_MEMLOCK,
}


# --- container ------------------------------------------------------------------------------


def look_at_namespaces() -> UserNamespaces:
    def setting(name: str) -> Optional[int]:
        text = (readable_text(Path("/proc/sys") / name) or "").strip()
        return int(text) if text.isdigit() else None

    return UserNamespaces(
        build_prefix(),
        clone=setting("kernel/unprivileged_userns_clone"),
        most=setting("user/max_user_namespaces"),
        apparmor=setting("kernel/apparmor_restrict_unprivileged_userns"),
    )


def can_open_fuse() -> bool:
    """Opened, not asked: a container may forbid what the mode allows."""
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def look_at_start(runtime: Runtime, image: Path) -> Start:
    """Raises Trouble when the image cannot be run."""
    options = runtime.exec_options(image)
    return Start(options, runtime.start_seconds(image))


# --- folders --------------------------------------------------------------------------------


def look_at_folder(path: Path) -> WritableFolder:
    """Write a file of a page and remove it; a folder that is not there yet is asked for above."""
    there = next((place for place in (path, *path.parents) if place.exists()), Path("/"))
    try:
        room = os.statvfs(there)
        free = room.f_bavail * room.f_frsize
        if room.f_files and not room.f_favail:
            return WritableFolder(
                path, "no more files can be made: the file system has no inode left"
            )
        if there != path:
            allowed = there.is_dir() and os.access(there, os.W_OK | os.X_OK)
            return WritableFolder(path, "" if allowed else f"cannot be made in {there}", free)
        with tempfile.NamedTemporaryFile(dir=path, prefix=".bundle-doctor-") as stream:
            before = time.time()
            stream.write(bytes(4096))
            stream.flush()
            os.fsync(stream.fileno())
            stamp = os.fstat(stream.fileno()).st_mtime
            after = time.time()
    except OSError as error:
        return WritableFolder(path, f"cannot be written: {error.strerror}")
    # Slow is not skewed: a stamp between the two readings agrees.
    skew = stamp - after if stamp > after else min(0.0, stamp - before)
    return WritableFolder(path, "", free, skew)


def look_at_scratch(path: Path) -> WritableFolder:
    """As :func:`look_at_folder`; no job makes a scratch folder that is not there."""
    if path.is_absolute() and not path.is_dir():
        return WritableFolder(path, "is not a folder")
    return look_at_folder(path)


# --- machine --------------------------------------------------------------------------------


def look_at_processor() -> Processor:
    fields: Dict[str, str] = {}
    for line in (readable_text(Path("/proc/cpuinfo")) or "").splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    return Processor(fields.get("model name", "unknown model"), platform.machine())


def look_at_cores() -> Cores:
    membership = readable_text(Path("/proc/self/cgroup")) or ""
    return Cores(
        len(os.sched_getaffinity(0)),
        os.cpu_count() or 1,
        control_group.quota(membership, readable_text),
    )


def look_at_memory() -> Memory:
    sizes: Dict[str, int] = {}
    for line in (readable_text(Path("/proc/meminfo")) or "").splitlines():
        name, _, value = line.partition(":")
        sizes[name] = int(value.split()[0]) * (1024 if "kB" in value else 1)
    membership = readable_text(Path("/proc/self/cgroup")) or ""
    return Memory(
        sizes["MemTotal"],
        sizes.get("MemAvailable", sizes["MemFree"]),
        control_group.memory_limit(membership, readable_text),
        control_group.memory_used(membership, readable_text),
    )


def look_at_limits() -> Mapping[str, Tuple[Optional[int], Optional[int]]]:
    def known(value: int) -> Optional[int]:
        return None if value == resource.RLIM_INFINITY else value

    flags = [LOCKED[1], *(flag for _, flag, *_ in LIMITS)]
    pairs = {flag: resource.getrlimit(RESOURCES[flag]) for flag in flags}
    return {flag: (known(soft), known(hard)) for flag, (soft, hard) in pairs.items()}


# --- programs -------------------------------------------------------------------------------


def look_at_launch(site: Site, ranks: int, as_root: bool, environ: Mapping[str, str]) -> float:
    """Seconds in which the site's mpirun, in a job's environment, starts ``ranks`` processes that
    do nothing.

    Raises CommandFailed, and Trouble for an mpirun that cannot serve the image.
    """
    mpi = find_host_mpi(site.mpirun, environ)
    tokens = mpirun_tokens(
        site.mpirun,
        World(ranks=ranks, nodes=1),
        site.launch_mca,
        as_root=as_root,
        in_user_namespace=True,
        series=mpi.series,
    )
    begin = time.monotonic()
    run([*tokens, "true"], env={**environ, **site.launch_environment}, timeout=60)
    return time.monotonic() - begin


def look_at_packages(project: Path) -> Packages:
    requirements = project / "requirements" / "host.txt"
    wanted = parse_pins(requirements.read_text(encoding="utf-8"), {})
    stamp = readable_text(project / ".venv" / ".installed") or ""
    digests = [line.rpartition(" ")[2] for line in stamp.splitlines()]
    return Packages(
        platform.python_version(),
        wanted,
        {name: installed_version(name) for name in wanted},
        sha256_of_file(requirements) in digests,
    )


def installed_version(name: str) -> Optional[str]:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def look_at_git(project: Path) -> Tuple[Optional[str], Optional[int]]:
    """(git's version, how many files it tracks in the project); None for what is not there.

    Raises Trouble when git cannot read the checkout.
    """
    tracked = len(git_files(project, untracked=False)) if is_checkout(project) else None
    try:
        return parse_git(answer(["git", "--version"])), tracked
    except CommandFailed:
        return None, tracked


def look_at_scheduler(
    scheduler: str, which: Callable[[str], Optional[str]] = shutil.which
) -> Optional[Commands]:
    """None for a scheduler without commands."""
    kind = SCHEDULERS.get(scheduler)
    if kind is None:
        return None
    paths = {name: which(name) for name in kind.commands}
    program = which(kind.version_question[0])
    if program is None:
        return Commands(paths)
    try:
        said = answer([program, *kind.version_question[1:]])
    except CommandFailed as error:
        return Commands(paths, problem=str(error))
    return Commands(paths, said, silence=silence_of(scheduler, which))


def silence_of(scheduler: str, which: Callable[[str], Optional[str]]) -> str:
    """Why no way to list a user's jobs works; "" where one does. A version needs no server."""
    why = ""
    for name, *arguments in SCHEDULERS[scheduler].states(user_name()):
        program = which(name)
        if program is None:
            return ""  # that it is missing is said anyway
        try:
            answer([program, *arguments])
            return ""
        except CommandFailed as error:
            last = error.stderr_tail.splitlines()[-1:] or [error.reason]
            why = f"{name} {error.reason}" if error.returncode is None else last[0]
            if error.timed_out:
                break
    return why
