"""Without a scheduler mpirun is never left to look for ssh or rsh."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Dict, List

import pytest

from benchmarks.__main__ import mpirun as mpirun_of_benchmarks
from benchmarks.gpu import command
from jobtemplates.one_host import MPIRUN, mpirun_here
from jobtemplates.sites import PROFILES, Site, load_site, parse_site
from tests.jobtemplates.test_transport import mca_of
from tests.test_gpu_benchmark import contest
from tests.trainer.conftest import mpirun_words
from tests.waiting import PATIENCE

AS_ROOT = os.geteuid() == 0


def site(**keys: Any) -> Site:
    return parse_site({"name": "x", "description": "", "scheduler": "local", **keys}, "x.yaml")


@pytest.fixture
def without_ssh(tmp_path: Path) -> Dict[str, str]:
    """An environment whose PATH has mpirun and what it starts, and no remote shell."""
    for name in ("mpirun", "orted", "true", "env"):
        program = shutil.which(name)
        assert program is not None
        (tmp_path / name).symlink_to(program)
    kept = {name: text for name, text in os.environ.items() if not name.startswith("OMPI_")}
    return {**kept, "PATH": str(tmp_path)}


def start(words: List[str], environ: Dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*words, "true"], env=environ, capture_output=True, text=True, timeout=PATIENCE
    )


def test_ranks_start_where_there_is_no_ssh(without_ssh: Dict[str, str]) -> None:
    done = start(mpirun_here(2, {}, as_root=AS_ROOT), without_ssh)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    # Left to itself this mpirun would not.
    root = ["--allow-run-as-root"] if AS_ROOT else []
    left_alone = start([*MPIRUN, "-np", "2", *root], without_ssh)
    assert left_alone.returncode != 0
    assert "plm_rsh" in left_alone.stderr


def test_everything_that_starts_ranks_without_a_scheduler_says_so() -> None:
    started = [
        mpirun_words(2, {"coll_tuned_use_dynamic_rules": "1"}),
        mpirun_of_benchmarks(2, {}),
        command(contest(gpus=4), "/torch/python"),
    ]
    for words in started:
        at = words.index("plm")
        assert words[at - 1 : at + 2] == ["--mca", "plm", "isolated"]


def test_any_profile_without_a_scheduler_gets_it() -> None:
    assert mca_of(load_site("local", [PROFILES]))["plm"] == "isolated"
    assert mca_of(site(mca={"pml": "ucx"}))["plm"] == "isolated"
    assert mca_of(site(mca={"plm": "rsh"}))["plm"] == "rsh"
    assert "plm" not in mca_of(site(environment={"OMPI_MCA_plm": "rsh"}))


@pytest.mark.parametrize("name", ["slurm", "gridengine", "pbs"])
def test_a_scheduler_starts_ranks_its_own_way(name: str) -> None:
    assert "plm" not in load_site(name, [PROFILES]).launch_mca
