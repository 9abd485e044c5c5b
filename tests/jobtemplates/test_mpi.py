"""The host's MPI is recognised by what its mpirun prints, at submit and on the node."""

import os
from pathlib import Path
from typing import Sequence

import pytest

from container.process import CommandFailed
from container.trouble import Trouble
from jobtemplates import mpi as host_mpi
from jobtemplates.mpi import (
    HostMpi,
    find_host_mpi,
    mpi_problem,
    mpi_warnings,
    parse_version_text,
)
from tests.jobtemplates.test_script import Stage

OPEN_MPI = "mpirun (Open MPI) 4.1.4\n\nReport bugs to http://www.open-mpi.org/community/help/\n"
#: What a site's wrapper says before the version.
GREETING = "welcome to kite, the MPI of all of us\n"
MPICH = "HYDRA build details:\n    Version:                                 4.0.2\n"
INTEL = "Intel(R) MPI Library for Linux* OS, Version 2021.9 Build 20230307 (id: d82b3071db)\n"
MPICH_PROBLEM = (
    "mpirun on this host is MPICH 4.0.2, and the image has Open MPI: these cannot work together"
)
NEXT = (
    "-> load or install Open MPI 4.0 to 5.0 (for instance: module load openmpi; an administrator: "
    "apt-get install openmpi-bin) and see that its mpirun comes first on PATH"
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (OPEN_MPI, HostMpi("Open MPI", "4.1.4")),
        ("mpirun (Open MPI) 5.0.0rc12\n", HostMpi("Open MPI", "5.0.0rc12")),
        (MPICH, HostMpi("MPICH", "4.0.2")),
        (INTEL, HostMpi("Intel MPI", "2021.9")),
        ("bash: what?\n", None),
    ],
)
def test_families(text: str, expected: "HostMpi | None") -> None:
    assert parse_version_text(text) == expected


@pytest.mark.parametrize(
    ("mpi", "problem"),
    [
        (HostMpi("Open MPI", "4.1.4"), None),
        (HostMpi("Open MPI", "4.0.0"), None),
        (HostMpi("Open MPI", "5.0.11"), None),
        (HostMpi("Open MPI", "5.0.0rc12"), None),
        (
            HostMpi("Open MPI", "5.1.0"),
            "mpirun on this host is Open MPI 5.1.0, and the image needs Open MPI 4.0 to 5.0",
        ),
        (
            HostMpi("Open MPI", "6.0.0a1"),
            "mpirun on this host is Open MPI 6.0.0a1, and the image needs Open MPI 4.0 to 5.0",
        ),
        (
            HostMpi("Open MPI", "2.1.2"),
            "mpirun on this host is Open MPI 2.1.2, and the image needs Open MPI 4.0 to 5.0",
        ),
        (
            HostMpi("MPICH", "4.0.2"),
            MPICH_PROBLEM,
        ),
    ],
)
def test_what_can_serve_the_image(mpi: HostMpi, problem: "str | None") -> None:
    assert mpi_problem(mpi) == problem


def test_another_series_is_a_warning_and_the_same_one_is_not() -> None:
    assert mpi_warnings(HostMpi("Open MPI", "4.1.4"), "4.1.4") == []
    assert mpi_warnings(HostMpi("Open MPI", "4.1.8"), "4.1.4") == []
    assert mpi_warnings(HostMpi("Open MPI", "5.0.3"), "4.1.4") == [
        "mpirun is Open MPI 5.0.3 and the image has Open MPI 4.1.4: Open MPI promises nothing "
        "between these; try it first: python bundle.py doctor --job"
    ]


@pytest.mark.parametrize(
    ("said", "series"),
    [
        (OPEN_MPI, 4),
        ("mpirun (Open MPI) 5.0.11\n\nReport bugs\n", 5),
        ("mpirun (Open MPI) 2.1.2\n", None),
        ("mpirun (Open MPI) 5.1.0\n", None),
        ("mpirun (Open MPI) 6.0.0a1\n", None),
        (MPICH, None),
        (INTEL, None),
        (GREETING + OPEN_MPI, 4),
        (GREETING + "mpirun (Open MPI) 5.0.8\n", 5),
        (GREETING + "mpirun (Open MPI) 5.1.0\n", None),
        (GREETING + MPICH, None),
    ],
)
def test_the_job_script_knows_the_same_versions_as_submit(
    tmp_path: Path, said: str, series: "int | None"
) -> None:
    stage = Stage(tmp_path)
    code = stage.run(WITH_RESULT="1", VERSION=said)
    mpi = parse_version_text(said)
    assert mpi is not None
    assert (mpi_problem(mpi) is None) == (series is not None)
    if series is None:
        first = said.replace(GREETING, "").splitlines()[0]
        assert code == 2
        assert stage.stderr() == (
            f"bundle: {os.uname().nodename}: mpirun is {first}, and the image needs "
            f"Open MPI 4.0 to 5.0\n{NEXT}\n"
        )
        assert not (stage.files.root / "seen.json").exists()
        return
    assert (code, mpi.series) == (0, series)
    argv, environ = stage.seen()["argv"], stage.seen()["environ"]
    assert isinstance(argv, list) and isinstance(environ, dict)
    assert ("--quiet" in argv, "isolated" in argv) == (series == 4, series == 4)
    daemon = environ.get("OMPI_MCA_orte_local_daemon_uri")
    assert daemon == (None if series == 4 else "1.0;tcp://127.0.0.1:1")


def test_the_job_script_too_refuses_an_mpi_that_nobody_knows(tmp_path: Path) -> None:
    said = "mpirun (IBM Spectrum MPI) 10.3.0.1"
    stage = Stage(tmp_path)
    assert stage.run(WITH_RESULT="1", VERSION=f"{said}\nmore\n") == 2
    assert stage.stderr() == (
        f"bundle: {os.uname().nodename}: mpirun is {said}, and the image needs "
        f"Open MPI 4.0 to 5.0\n{NEXT}\n"
    )


def test_this_machines_mpirun_is_found() -> None:
    assert find_host_mpi(["mpirun"]).family == "Open MPI"


def test_no_mpi_on_the_host() -> None:
    with pytest.raises(Trouble) as caught:
        find_host_mpi(["mpirun-that-nobody-has"])
    assert str(caught.value) == (
        "there is no MPI on this host: `mpirun-that-nobody-has` could not be started: "
        f"No such file or directory\n{NEXT}"
    )


def test_mpi_of_another_family(tmp_path: Path) -> None:
    # A stand-in that prints what MPICH 4.0.2's mpirun prints: Debian does not let the real one be
    # installed beside Open MPI.
    mpirun = tmp_path / "mpirun"
    mpirun.write_text(f"#!/bin/sh\ncat <<'END'\n{MPICH}END\n")
    mpirun.chmod(0o755)
    with pytest.raises(Trouble) as caught:
        find_host_mpi([str(mpirun)])
    assert str(caught.value) == (f"{MPICH_PROBLEM}\n{NEXT}")


def test_an_mpi_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is there: it is not said that there is none."""

    def silent(argv: Sequence[str], **_: object) -> None:
        late = "did not end within 30 s"
        raise CommandFailed(argv, None, None, "", late, timed_out=True)

    monkeypatch.setattr(host_mpi, "run", silent)
    with pytest.raises(Trouble) as caught:
        find_host_mpi(["mpirun"])
    assert str(caught.value) == (
        f"the host's MPI does not work: `mpirun --version` did not end within 30 s\n{NEXT}"
    )
