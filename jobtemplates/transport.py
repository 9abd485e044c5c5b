"""How the ranks' messages travel: named by the site's profile, never left to Open MPI's own choice.

Left to itself the image's Open MPI 4.1 takes libfabric where there is nothing faster. Each rank
runs in a user namespace of its own, and libfabric's matched receive fails between those
(MPI_ERR_OTHER).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Dict, List, Mapping


@dataclass(frozen=True)
class Transport:
    """``mca`` are Open MPI's parameters, ``environment`` variables of the libraries below it."""

    mca: Dict[str, str]
    environment: Dict[str, str] = field(default_factory=dict)


#: What works between user namespaces, tried with the image. UCX by itself opens another rank's
#: memory through /proc and copies with process_vm_readv; both are forbidden there.
TRANSPORTS: Dict[str, Transport] = {
    "tcp": Transport({"pml": "ob1", "btl": "self,vader,tcp"}),
    "ucx": Transport(
        {"pml": "ucx", "pml_ucx_tls": "any", "pml_ucx_devices": "any"},
        {"UCX_POSIX_USE_PROC_LINK": "n", "UCX_TLS": "^cma"},
    ),
    "ofi": Transport({"pml": "cm", "mtl": "ofi"}),
}

#: Which of libfabric's providers is taken; its own choice is the one that fails.
PROVIDER = "mtl_ofi_provider_include"

#: What Open MPI and the libraries below it read of the environment, by the beginnings of names.
#: A job gets them from its site's profile and modules alone, not from the shell that submits.
VARIABLES = ("OMPI_MCA_", "PMIX_MCA_", "PRTE_MCA_", "UCX_", "FI_")

#: Files of the account, below its home, in which mpirun and its daemons look for parameters.
ACCOUNT_FILES = (".openmpi/mca-params.conf", ".prte/mca-params.conf", ".pmix/mca-params.conf")


def names_set_in(text: str) -> List[str]:
    """The parameters that such a file sets: lines of ``name = value``, ``#`` begins a remark."""
    lines = (line.partition("#")[0] for line in text.splitlines())
    return [name.strip() for name, equals, _ in (line.partition("=") for line in lines) if equals]


def transport_mca(
    name: str, mca: Mapping[str, str], environment: Mapping[str, str]
) -> Dict[str, str]:
    """The parameters of a job: those of the transport ``name``, and before them the profile's own.

    A profile that names a ``pml`` itself chooses all of it.
    """
    if "pml" in mca or "OMPI_MCA_pml" in environment:
        return dict(mca)
    ours = TRANSPORTS[name].mca
    return {
        **{key: value for key, value in ours.items() if f"OMPI_MCA_{key}" not in environment},
        **mca,
    }
