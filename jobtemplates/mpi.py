"""The host's MPI: which family and version ``mpirun`` is, and whether the image can use it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import List, Optional, Sequence, Tuple

from container.process import CommandFailed, run
from container.trouble import Trouble

FAMILIES = (
    ("Open MPI", re.compile(r"\(Open MPI\)\s+(\d[\w.]*)")),
    ("Intel MPI", re.compile(r"Intel\(R\) MPI Library.*?Version\s+([\w. ]+?)(?:\s+Build|$)", re.M)),
    ("MPICH", re.compile(r"HYDRA build details:\s+Version:\s+(\S+)")),
)

#: Open MPI 2.1 and 3.0 bundle PMIx 1.2, which cannot speak to the image's PMIx 4.
OLDEST: Tuple[int, int] = (4, 0)


@dataclass(frozen=True)
class HostMpi:
    family: str
    version: str

    def __str__(self) -> str:
        return f"{self.family} {self.version}"


def parse_version_text(text: str) -> Optional[HostMpi]:
    """What ``mpirun --version`` printed -> HostMpi, or None for a family that is not known."""
    for family, pattern in FAMILIES:
        match = pattern.search(text)
        if match:
            return HostMpi(family, match.group(1))
    return None


def mpi_problem(mpi: HostMpi) -> Optional[str]:
    """One sentence when the image's Open MPI cannot be started by this ``mpirun``, else None."""
    if mpi.family != "Open MPI":
        return (
            f"mpirun on this host is {mpi}, and the image has Open MPI: these cannot work together"
        )
    numbers = tuple(int(part) for part in re.findall(r"\d+", mpi.version)[:2])
    if numbers < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        return f"mpirun on this host is {mpi}, and the image needs Open MPI {oldest} or newer"
    return None


def mpi_warnings(mpi: HostMpi, image_version: str) -> List[str]:
    """Open MPI promises nothing between versions; PMIx >= 2.1.1 pairs are known to work."""
    if mpi.version == image_version:
        return []
    return [
        f"mpirun is {mpi} and the image has Open MPI {image_version}: this pair usually works, "
        "but only equal versions were tested"
    ]


def find_host_mpi(mpirun: Sequence[str]) -> HostMpi:
    """Ask ``mpirun --version``. Raises Trouble when there is none or it cannot serve the image."""
    next_step = (
        "load or install Open MPI >= 4.0 (for instance `module load openmpi`; an administrator: "
        "`apt-get install openmpi-bin`) and see that its mpirun comes first on PATH"
    )
    try:
        done = run([mpirun[0], "--version"], timeout=30)
    except CommandFailed as error:
        if error.returncode is None:
            problem = f"there is no MPI on this host: `{mpirun[0]}` {error.reason}"
            raise Trouble(problem, next_step) from error
        raise Trouble(f"the host's MPI does not work: {error}", next_step) from error
    mpi = parse_version_text(done.stdout + done.stderr)
    if mpi is None:
        first = (done.stdout.strip().splitlines() or ["nothing"])[0]
        problem = f"`{mpirun[0]} --version` printed {first!r}, which is no known MPI"
        raise Trouble(problem, next_step)
    unfit = mpi_problem(mpi)
    if unfit:
        raise Trouble(unfit, next_step)
    return mpi
