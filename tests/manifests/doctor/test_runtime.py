"""Singularity and Apptainer, user namespaces: facts in, the whole finding out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from container.runtime import NO_RUNTIME, Runtime
from manifests.doctor.runtime import (
    Start,
    UserNamespaces,
    fuse_finding,
    namespaces_finding,
    program_finding,
    start_finding,
)
from manifests.host.finding import (
    fail,
    ok,
    warn,
)

ASK = "ask your administrator"
SETUID = ", or to install apptainer with setuid"


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
