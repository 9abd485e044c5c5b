"""Singularity or Apptainer: is it there, new enough, and how can it run an image here?"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Dict, Optional, Tuple

from container.runtime import NO_RUNTIME, Runtime
from manifests.host.finding import Finding, fail, ok, warn

#: What people call the families that ``--version`` tells apart. Before the two projects parted
#: (2021) it was plain Singularity.
TITLES = {
    "apptainer": "Apptainer",
    "singularity-ce": "SingularityCE",
    "singularity-pro": "SingularityPRO",
    "singularity": "Singularity",
}
#: The job script binds with ``--mount``, which Apptainer has from 1.0 on and SingularityCE from 3.9
#: on (their change logs); the last Singularity of the old project is 3.8.
OLDEST: Dict[str, Tuple[int, int]] = {
    "apptainer": (1, 0),
    "singularity-ce": (3, 9),
    "singularity-pro": (3, 9),
    "singularity": (3, 9),
}


def program_finding(runtime: Runtime, setuid: bool) -> Finding:
    """``setuid``: its part that starts containers as root was installed."""
    found = f"{TITLES[runtime.family]} {runtime.version} ({runtime.program})"
    numbers = tuple(int(part) for part in re.findall(r"\d+", runtime.version)[:2])
    if numbers < OLDEST[runtime.family]:
        return fail(
            f"{found} is too old: it has no `exec --mount`",
            f"it takes Apptainer 1.0, SingularityCE 3.9 or newer: {NO_RUNTIME}",
        )
    return ok(f"{found}, {'with' if setuid else 'without'} setuid")


@dataclass(frozen=True)
class UserNamespaces:
    """``isolation`` are the words in front of a build (container.runtime.build_prefix), empty where
    no user namespace can be made; the numbers are the kernel's settings, None where it has none:

    ``clone`` kernel.unprivileged_userns_clone (Debian), ``most`` user.max_user_namespaces,
    ``apparmor`` kernel.apparmor_restrict_unprivileged_userns (Ubuntu 23.10 and later).
    """

    isolation: Tuple[str, ...]
    clone: Optional[int] = None
    most: Optional[int] = None
    apparmor: Optional[int] = None


def namespaces_finding(facts: UserNamespaces, setuid: bool) -> Finding:
    """Builds need them; without setuid every start of a container does too."""
    if facts.isolation:
        kept = [
            text
            for option, text in (("--net", "no network"), ("--pid", "processes of their own"))
            if option in facts.isolation
        ]
        return ok(f"allowed; builds run with {' and '.join(kept) or 'no further isolation'}")
    found, advice = _why_no_namespace(facts)
    if setuid:
        return warn(
            f"{found}: images are run by setuid, but none can be built",
            f"{advice}; or build elsewhere and copy the cache",
        )
    return fail(found, f"{advice}, or to install apptainer with setuid")


def _why_no_namespace(facts: UserNamespaces) -> Tuple[str, str]:
    ask = "ask your administrator"
    if facts.clone == 0:
        return (
            "forbidden: kernel.unprivileged_userns_clone is 0",
            f"{ask} for `sysctl -w kernel.unprivileged_userns_clone=1`",
        )
    if facts.most == 0:
        return (
            "forbidden: user.max_user_namespaces is 0",
            f"{ask} for `sysctl -w user.max_user_namespaces=15000`",
        )
    if facts.apparmor == 1:
        return (
            "forbidden: kernel.apparmor_restrict_unprivileged_userns is 1",
            f"{ask} for an AppArmor profile that allows userns to unshare and to the container "
            "program, for `sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`",
        )
    return (
        "forbidden, though the kernel's settings allow them: is this a container?",
        f"{ask} to allow them (in a container: its seccomp profile)",
    )


def fuse_finding(usable: bool, setuid: bool) -> Finding:
    """``usable``: this account can open /dev/fuse for reading and writing."""
    if usable:
        return ok("can be opened")
    if setuid:
        return ok("cannot be opened, and need not be: images are mounted by setuid")
    return warn(
        "cannot be opened: an image that cannot be mounted is unpacked at every start of a rank",
        "ask your administrator for `modprobe fuse` and mode 666 on /dev/fuse",
    )


@dataclass(frozen=True)
class Start:
    """How the image was started: the options that it took (container.runtime.EXEC_OPTIONS), and
    the seconds of one start that did nothing else."""

    options: Tuple[str, ...]
    seconds: float


def start_finding(start: Start) -> Finding:
    how = f"exec {' '.join(start.options)}" if start.options else "exec"
    found = f"`{how}` works, {start.seconds:.2f} s a start"
    if "--unsquash" in start.options:
        return warn(
            f"{found}: the image is unpacked into TMPDIR each time",
            "ask your administrator for squashfuse and /dev/fuse, or for apptainer with setuid",
        )
    return ok(found)
