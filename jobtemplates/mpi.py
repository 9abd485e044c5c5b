"""The host's MPI: which family and version ``mpirun`` is, and whether the image can use it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import List, Mapping, Optional, Sequence, Tuple

from container.process import CommandFailed, run
from container.trouble import Trouble

FAMILIES = (
    ("Open MPI", re.compile(r"\(Open MPI\)\s+(\d[\w.]*)")),
    ("Intel MPI", re.compile(r"Intel\(R\) MPI Library.*?Version\s+([\w. ]+?)(?:\s+Build|$)", re.M)),
    ("MPICH", re.compile(r"HYDRA build details:\s+Version:\s+(\S+)")),
)

#: The first and the last series whose mpirun starts the image's ranks. Open MPI 2.1 and 3.0 bundle
#: PMIx 1.2, which cannot speak to the image's PMIx 4. Tried were 4.1.4, 4.1.7, 4.1.8, 5.0.8 and
#: 5.0.11. The job script knows the same series (scripts/body.sh.j2).
OLDEST: Tuple[int, int] = (4, 0)
NEWEST: Tuple[int, int] = (5, 0)
RANGE = f"Open MPI {OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}"
NEXT_STEP = (
    f"load or install {RANGE} (for instance: module load openmpi; an administrator: "
    "apt-get install openmpi-bin) and see that its mpirun comes first on PATH"
)


@dataclass(frozen=True)
class HostMpi:
    family: str
    version: str

    @property
    def series(self) -> int:
        """4 or 5 for an Open MPI that can serve the image."""
        return int(self.version.partition(".")[0])

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
    if not OLDEST <= numbers <= NEWEST:
        return f"mpirun on this host is {mpi}, and the image needs {RANGE}"
    return None


def mpi_warnings(mpi: HostMpi, image_version: str) -> List[str]:
    """Open MPI promises nothing between series; within one, versions work together."""
    if mpi.version.split(".")[:2] == image_version.split(".")[:2]:
        return []
    return [
        f"mpirun is {mpi} and the image has Open MPI {image_version}: Open MPI promises nothing "
        "between these; try it first: python bundle.py doctor --job"
    ]


def find_host_mpi(mpirun: Sequence[str], environ: Optional[Mapping[str, str]] = None) -> HostMpi:
    """Ask ``mpirun --version`` in ``environ``, that of a job.

    Raises Trouble when there is none or it cannot serve the image.
    """
    try:
        done = run([mpirun[0], "--version"], env=environ, timeout=30)
    except CommandFailed as error:
        if error.returncode is None and not error.timed_out:
            problem = f"there is no MPI on this host: `{mpirun[0]}` {error.reason}"
            raise Trouble(problem, NEXT_STEP) from error
        raise Trouble(f"the host's MPI does not work: {error}", NEXT_STEP) from error
    mpi = parse_version_text(done.stdout + done.stderr)
    if mpi is None:
        first = (done.stdout.strip().splitlines() or ["nothing"])[0]
        problem = f"`{mpirun[0]} --version` printed {first!r}, which is not a known MPI"
        raise Trouble(problem, NEXT_STEP)
    unfit = mpi_problem(mpi)
    if unfit:
        raise Trouble(unfit, NEXT_STEP)
    return mpi
