"""The transport of a job is named by its site's profile, and by nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List

import pytest

from container.trouble import Trouble
from jobtemplates.script import render_script
from jobtemplates.sites import PROFILES, Site, load_site, parse_site
from jobtemplates.transport import VARIABLES
from manifests.record.run_files import RunFiles
from manifests.record.schema import Manifest
from tests.jobtemplates.test_script import GOLDEN, PLACES, USER, Stage
from tests.records import manifest_values


def site(**keys: Any) -> Site:
    return parse_site({"name": "x", "description": "", "scheduler": "local", **keys}, "x.yaml")


def mca_of(site: Site) -> Dict[str, str]:
    """The parameters on the command line of mpirun, as written into a script for two nodes."""
    values = manifest_values()
    values["identity"]["world"] = {"ranks": 2, "nodes": 2}
    script = render_script(Manifest.model_validate(values), RunFiles(Path("/r")), site, USER)
    command = script.partition("mpirun=(")[2].partition(")\n")[0].replace("\\\n", " ").split()
    return {
        command[n + 1]: command[n + 2].strip("'")
        for n, word in enumerate(command)
        if word == "--mca"
    }


def exports_of(site: Site) -> List[str]:
    script = render_script(
        Manifest.model_validate(manifest_values()), RunFiles(Path("/r")), site, USER
    )
    return [line for line in script.splitlines() if line.startswith("export UCX_")]


@pytest.mark.parametrize("name", sorted(PLACES))
def test_no_profile_of_the_project_leaves_it_to_open_mpi(name: str) -> None:
    script = (GOLDEN / f"{name}.sh").read_text()
    btl = "self,vader" if name == "local" else "self,vader,tcp"
    # Once for Open MPI 4, once for Open MPI 5.
    assert script.count("--mca pml ob1") == script.count(f"--mca btl {btl} ") == 2
    assert load_site(name, [PROFILES]).transport == "tcp"


def test_a_profile_of_the_users_own_gets_one_too() -> None:
    mca = mca_of(site(mca={"btl_tcp_if_include": "ib0"}))
    assert (mca["pml"], mca["btl"]) == ("ob1", "self,vader,tcp")
    assert mca["btl_tcp_if_include"] == "ib0"
    assert mca_of(site(mca={"btl": "self,tcp"}))["btl"] == "self,tcp"


def test_ucx_and_libfabric_as_they_work_between_user_namespaces() -> None:
    ucx = site(transport="ucx")
    mca = mca_of(ucx)
    assert (mca["pml"], mca["pml_ucx_tls"], mca["pml_ucx_devices"]) == ("ucx", "any", "any")
    assert exports_of(ucx) == ["export UCX_POSIX_USE_PROC_LINK=n", "export UCX_TLS='^cma'"]
    own = site(transport="ucx", environment={"UCX_TLS": "rc,self"})
    assert "export UCX_TLS=rc,self" in exports_of(own)
    ofi = mca_of(site(transport="ofi", mca={"mtl_ofi_provider_include": "psm2"}))
    assert (ofi["pml"], ofi["mtl"], ofi["mtl_ofi_provider_include"]) == ("cm", "ofi", "psm2")
    assert "btl" not in ofi


def test_a_pml_that_a_profile_names_stands_alone() -> None:
    assert "btl" not in mca_of(site(mca={"pml": "ucx"}))
    mca = mca_of(site(environment={"OMPI_MCA_pml": "ucx"}))
    assert "pml" not in mca and "btl" not in mca


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"transport": "best"}, "transport: found 'best', expected one of tcp, ucx, ofi"),
        (
            {"transport": "ofi"},
            "transport ofi needs mca.mtl_ofi_provider_include: a provider of libfabric",
        ),
    ],
)
def test_a_transport_that_cannot_be(keys: Dict[str, Any], problem: str) -> None:
    with pytest.raises(Trouble) as caught:
        site(**keys)
    assert str(caught.value) == f"x.yaml: {problem}\n-> correct the site profile (docs/sites.md)"


def test_what_open_mpi_reads_comes_from_the_profile_alone(tmp_path: Path) -> None:
    from jobtemplates.local import inherited

    names = [f"{prefix}anything" for prefix in VARIABLES]
    assert inherited(dict.fromkeys(names, "1")) == {}
    stage = Stage(tmp_path)
    assert stage.run(WITH_RESULT="1") == 0
    argv = stage.seen()["argv"]
    assert isinstance(argv, list)
    assert argv[argv.index("pml") + 1] == "ob1"
