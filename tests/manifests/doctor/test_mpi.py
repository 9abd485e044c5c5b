"""The host's MPI: facts in, the whole finding out."""

from __future__ import annotations

from jobtemplates.mpi import HostMpi
from manifests.doctor.mpi import launch_finding, mpi_finding
from manifests.host.finding import (
    ok,
    warn,
)

ADVICE = (
    "use Open MPI 4.1.4 where you can choose (`module avail openmpi`), and let the site profile "
    "set what the ranks need"
)


def test_mpi_of_the_image_s_version_and_of_another() -> None:
    assert mpi_finding(HostMpi("Open MPI", "4.1.4"), "/usr/bin/mpirun", "4.1.4") == ok(
        "Open MPI 4.1.4 (/usr/bin/mpirun); the image has 4.1.4"
    )
    assert mpi_finding(HostMpi("Open MPI", "5.0.3"), "/usr/bin/mpirun", "4.1.4") == warn(
        "mpirun is Open MPI 5.0.3 and the image has Open MPI 4.1.4: Open MPI promises nothing "
        "between these; try it first: python bundle.py doctor --job",
        ADVICE,
    )
    kept_back = ["UCX_TLS: set in this shell, not passed on to the job; …"]
    assert mpi_finding(HostMpi("Open MPI", "4.1.8"), None, "4.1.4", kept_back) == warn(
        kept_back[0], ADVICE
    )


def test_a_trial_of_mpirun() -> None:
    found = "2 processes started and ended in 0.50 s"
    assert launch_finding(2, 0.5, as_root=False) == ok(found)
    assert launch_finding(2, 0.5, as_root=True) == ok(f"{found}, as root with --allow-run-as-root")
