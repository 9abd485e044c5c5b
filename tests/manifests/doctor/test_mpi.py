"""The host's MPI: facts in, the whole finding out."""

from __future__ import annotations

from jobtemplates.mpi import HostMpi
from manifests.doctor.mpi import launch_finding, mpi_finding
from manifests.host.finding import (
    ok,
    warn,
)


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
