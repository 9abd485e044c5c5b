"""What a run is started with: by what this host has, or left to the nodes."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Dict

import pytest

from container.cache import Cache
from container.progress import Silent
from container.runtime import NO_RUNTIME
from container.trouble import Trouble
from jobtemplates.launcher import ContainerUse
from jobtemplates.mpi import NEXT_STEP
from jobtemplates.sites import Site, parse_site
from manifests.flows.preflight import host_mpi_warnings, launch_context_of, options_kept_back
from manifests.host.container_program import ask_ahead, container_program
from manifests.host.context import HostContext
from manifests.record.schema import Placement

#: Stands for the container program; it starts an image by --userns only, and not under settings.
APPTAINER = """#!/bin/sh
[ "$1" = --version ] && echo 'apptainer version 1.4.5' && exit
env | grep -q 'BIND\\|LD_PRELOAD' && exit 255
[ "$2" = --userns ] || exit 255
"""


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    return folder


def host(tmp_path: Path, **environ: str) -> HostContext:
    return HostContext(
        project=tmp_path, cache=Cache(tmp_path / "cache"), environ=environ,
        now=lambda: datetime.now(timezone.utc), hostname="login", user="ada", as_root=False,
        cpu_features=frozenset(), cores=2, progress=Silent(),
    )  # fmt: skip


def site(scheduler: str = "slurm", **keys: Any) -> Site:
    return parse_site({"name": "x", "description": "", "scheduler": scheduler, **keys}, "x.yaml")


def program(path: Path, text: str = APPTAINER) -> str:
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def use(program: str, *flags: str, untried: bool = False) -> ContainerUse:
    return ContainerUse(program, flags, in_user_namespace=True, untried=untried)


SETTINGS: Dict[str, str] = {
    "APPTAINER_BIND": "/no", "SINGULARITY_BINDPATH": "/no", "APPTAINERENV_LD_PRELOAD": "/no.so",
    "LD_PRELOAD": "/no.so",
}  # fmt: skip


def test_an_image_is_tried_without_the_settings_of_the_shell(
    tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = program(programs / "apptainer")
    for name, value in SETTINGS.items():
        if name != "LD_PRELOAD":
            monkeypatch.setenv(name, value)
    context, warnings = launch_context_of(
        site(), tmp_path / "x.sif", host(tmp_path, PATH=f"{programs}:/usr/bin:/bin", **SETTINGS)
    )
    assert (context.use, warnings) == (use(found, "--userns"), [])


def test_a_login_node_without_the_program_leaves_it_to_the_nodes(tmp_path: Path) -> None:
    context, warnings = launch_context_of(
        site(), tmp_path / "x.sif", host(tmp_path, PATH="/nowhere")
    )
    assert context.use == use("apptainer", untried=True)
    assert warnings == [
        "neither apptainer nor singularity was found on this host: it is tried on the nodes"
    ]


def test_a_login_node_that_cannot_run_the_image_leaves_it_to_the_nodes(
    tmp_path: Path, programs: Path
) -> None:
    found = program(programs / "apptainer", APPTAINER.replace("--userns", "--never"))
    image = tmp_path / "x.sif"
    context, warnings = launch_context_of(
        site(), image, host(tmp_path, PATH=f"{programs}:/usr/bin:/bin")
    )
    assert context.use == use(found, untried=True)
    assert warnings == [f"{found} cannot run {image} on this host: it is tried on the nodes"]


def test_where_jobs_run_on_this_host_it_must_have_one(tmp_path: Path) -> None:
    with pytest.raises(Trouble) as caught:
        launch_context_of(site("local"), tmp_path / "x.sif", host(tmp_path, PATH="/nowhere"))
    assert caught.value.problems == ["neither apptainer nor singularity was found"]
    assert caught.value.next_step == NO_RUNTIME


def test_a_profile_says_what_the_program_is_called_on_the_nodes(tmp_path: Path) -> None:
    context, warnings = launch_context_of(
        site(container="/opt/ce/bin/singularity"), tmp_path / "x.sif", host(tmp_path, PATH="/no")
    )
    assert (context.use, warnings) == (use("/opt/ce/bin/singularity", untried=True), [])


def test_what_the_shell_sets_for_mpi_is_named(tmp_path: Path, programs: Path) -> None:
    program(programs / "mpirun", "#!/bin/sh\necho 'mpirun (Open MPI) 4.1.4'\n")
    names = ("UCX_TLS", "OMPI_MCA_pml", "FI_PROVIDER", "PMIX_MCA_gds", "PRTE_MCA_plm")
    around = host(tmp_path, PATH=f"{programs}:/usr/bin:/bin", **dict.fromkeys(names, "1"))
    profile = site(mpirun=[str(programs / "mpirun")])
    placed = Placement(site="x", jobname="x")
    assert host_mpi_warnings(profile, placed, "4.1.4", around) == [
        "FI_PROVIDER, OMPI_MCA_pml, PMIX_MCA_gds, PRTE_MCA_plm, UCX_TLS: set in this shell, not "
        "passed on to the job; where the ranks need them, set them in the site profile (mca, "
        "environment)"
    ]


def test_what_the_shell_sets_for_sbatch_is_named(tmp_path: Path) -> None:
    names = ("SBATCH_PARTITION", "SBATCH_ACCOUNT", "SBATCH_CLUSTERS", "SLURM_CONF", "SQUEUE_SORT")
    around = host(tmp_path, **dict.fromkeys(names, "1"))
    assert options_kept_back(site("slurm"), around) == [
        "SBATCH_ACCOUNT, SBATCH_PARTITION: set in this shell, not passed on to sbatch; where jobs "
        "need them, use keys of the config (group, walltime, others)"
    ]
    assert options_kept_back(site("slurm"), host(tmp_path)) == []
    for other in ("local", "gridengine", "pbs"):
        assert options_kept_back(site(other), around) == []


def test_what_files_in_the_home_set_for_mpirun_is_named(tmp_path: Path, programs: Path) -> None:
    mpirun = program(programs / "mpirun", "#!/bin/sh\necho 'mpirun (Open MPI) 4.1.4'\n")
    path = tmp_path / ".openmpi" / "mca-params.conf"
    path.parent.mkdir()
    profile, placed = site(mpirun=[mpirun]), Placement(site="x", jobname="x")
    around = host(tmp_path, PATH=f"{programs}:/usr/bin:/bin", HOME=str(tmp_path))
    path.write_text("# btl = x\n\n")
    assert host_mpi_warnings(profile, placed, "4.1.4", around) == []
    path.write_bytes(b"# caf\xe9\npml = cm # old\n btl=openib,self\n")
    named = (
        f"{path} sets pml, btl: mpirun reads it in the job, and the site profile does not know of "
        "it; move what jobs need there (mca), and the rest out of the file"
    )
    assert host_mpi_warnings(profile, placed, "4.1.4", around) == [named]
    program(programs / "mpirun", "#!/bin/sh\necho 'mpirun: unknown option' >&2; exit 1\n")
    with pytest.raises(Trouble) as caught:
        host_mpi_warnings(profile, placed, "4.1.4", around)
    assert caught.value.problems[1:] == [named]


def test_an_mpirun_that_a_module_replaces_may_be_any(tmp_path: Path, programs: Path) -> None:
    old = program(programs / "mpirun", "#!/bin/sh\necho 'mpirun (Open MPI) 2.1.2'\n")
    around = host(tmp_path, PATH=f"{programs}:/usr/bin:/bin")
    placed = Placement(site="x", jobname="x", modules=["openmpi"])
    wrong = "mpirun on this host is Open MPI 2.1.2, and the image needs Open MPI 4.0 to 5.0"
    assert host_mpi_warnings(site(mpirun=[old]), placed, "4.1.4", around) == [
        f"{wrong}; the job's modules must bring one"
    ]
    with pytest.raises(Trouble) as caught:
        host_mpi_warnings(
            site(mpirun=[old]), placed.model_copy(update={"modules": []}), "4.1.4", around
        )
    assert str(caught.value) == f"{wrong}\n-> {NEXT_STEP}"


def test_a_program_that_is_asked_ahead_is_asked_once(tmp_path: Path, programs: Path) -> None:
    asked = tmp_path / "asked"
    own = programs / "apptainer"
    own.write_text(f"#!/bin/sh\necho x >>{asked}\necho 'apptainer version 1.4.5'\n")
    own.chmod(0o755)
    ahead = ask_ahead(host(tmp_path, PATH=f"{programs}:/usr/bin:/bin"))
    assert [container_program(ahead).program, container_program(ahead).version] == [own, "1.4.5"]
    assert asked.read_text() == "x\n"


def test_a_program_that_is_not_there_is_said_where_it_is_needed(tmp_path: Path) -> None:
    ahead = ask_ahead(host(tmp_path, PATH="/nowhere"))
    with pytest.raises(Trouble, match="neither apptainer nor singularity was found"):
        container_program(ahead)
