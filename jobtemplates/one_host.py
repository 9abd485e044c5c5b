"""mpirun where no scheduler starts anything: all ranks on this host, and no remote shell is wanted.

No third-party import: benchmarks and the trainer's tests use it with the image's Python too.
"""

from __future__ import annotations

from typing import List, Mapping

#: Open MPI 4 looks for ssh or rsh before it starts anything, also for one host, and ends where it
#: finds neither ("plm_rsh"). This component starts processes on this host only.
ONE_HOST = {"plm": "isolated"}

#: Ranks may outnumber cores, and their loaders are not bound to a core with them.
MPIRUN = ("mpirun", "--quiet", "--oversubscribe", "--bind-to", "none")


def mpirun_here(ranks: int, mca: Mapping[str, str], *, as_root: bool) -> List[str]:
    """``mpirun`` of Open MPI 4 with its options, for ``ranks`` processes of this host.

    ``mca`` are parameters besides ONE_HOST, and go before it.
    """
    words = [*MPIRUN, "-np", str(ranks)]
    if as_root:
        words.append("--allow-run-as-root")
    for name, value in {**ONE_HOST, **mca}.items():
        words += ["--mca", name, value]
    return words
