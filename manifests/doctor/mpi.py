"""The host's MPI against the image's."""

from __future__ import annotations

from typing import Optional, Sequence

from jobtemplates.mpi import HostMpi, mpi_warnings
from manifests.host.finding import Finding, ok, warn


def mpi_finding(
    mpi: HostMpi, where: Optional[str], image_version: str, beside: Sequence[str] = ()
) -> Finding:
    """For an MPI that can start the image's ranks; for any other there is Trouble.

    ``beside`` says what is set for MPI beside the site's profile.
    """
    warnings = [*mpi_warnings(mpi, image_version), *beside]
    if warnings:
        return warn(
            "; ".join(warnings),
            f"use Open MPI {image_version} where you can choose (`module avail openmpi`), and let "
            "the site profile set what the ranks need",
        )
    return ok(f"{mpi} ({where or 'path unknown'}); the image has {image_version}")


def launch_finding(ranks: int, seconds: float, as_root: bool) -> Finding:
    """On an ``mpirun`` of this host's own commands that ended well."""
    root = ", as root with --allow-run-as-root" if as_root else ""
    return ok(f"{ranks} processes started and ended in {seconds:.2f} s{root}")
