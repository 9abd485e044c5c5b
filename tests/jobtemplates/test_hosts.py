"""The hosts that a scheduler gave a job, against those that the run wants."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Tuple

import pytest

from jobtemplates.script import render_script
from jobtemplates.sites import PROFILES, load_site
from manifests.record.schema import Manifest
from tests.jobtemplates.test_script import ROOT, Stage

ADVICE = {
    "gridengine": "use a parallel environment whose allocation_rule is the number of ranks on a "
    "node (qconf -sp NAME shows it, qconf -spl lists them; site profile: parallel_environment)",
    "pbs": "ask for chunks on hosts of their own (site profile: -l place=scatter)",
}


class Given(Stage):
    """A job of ``ranks`` on ``nodes`` whose scheduler's file of hosts is written by the test."""

    def __init__(self, tmp_path: Path, site: str, ranks: int, nodes: int) -> None:
        super().__init__(tmp_path)
        self.site = load_site(site, [PROFILES])
        self.ranks, self.nodes = ranks, nodes

    def manifest(self) -> Manifest:
        values = super().manifest().model_dump(mode="json")
        values["identity"]["world"] = {"ranks": self.ranks, "nodes": self.nodes}
        return Manifest.model_validate(values)

    def started(self, hosts: str) -> Tuple[int, str]:
        """(exit code, standard error) of the job with such a file."""
        file = self.folder / "hosts"
        file.write_text(hosts)
        self.files.job_script.write_text(
            render_script(self.manifest(), self.files, self.site, ROOT)
        )
        done = subprocess.run(
            ["bash", str(self.files.job_script)],
            env={**self.environment, self.site.backend.host_file: str(file), "JOB_ID": "1",
                 "PBS_JOBID": "1", "WITH_RESULT": "1"},
            cwd=self.folder, check=False,
        )  # fmt: skip
        return done.returncode, self.stderr()


@pytest.mark.parametrize(
    ("site", "ranks", "nodes", "hosts"),
    [
        ("gridengine", 2, 2, "n1 1 all.q@n1 UNDEFINED\nn2 1 all.q@n2 UNDEFINED\n"),
        ("gridengine", 4, 2, "n1 1 a.q@n1 U\nn2 2 a.q@n2 U\nn1 1 b.q@n1 U\n"),  # two queues
        ("gridengine", 2, 1, "n1 2 all.q@n1 UNDEFINED\n"),
        ("gridengine", 2, 2, ""),  # no parallel environment: mpirun knows the hosts
        ("pbs", 4, 2, "n1\nn1\nn2\nn2\n"),
    ],
)
def test_hosts_as_they_were_asked_for(
    tmp_path: Path, site: str, ranks: int, nodes: int, hosts: str
) -> None:
    assert Given(tmp_path, site, ranks, nodes).started(hosts) == (0, "")


@pytest.mark.parametrize(
    ("site", "ranks", "nodes", "hosts", "problem"),
    [
        (
            "gridengine", 2, 2, "n1 2 all.q@n1 UNDEFINED\n",
            "the run wants 2 hosts with 1 rank each, and Grid Engine gave it slots: n1 2",
        ),
        (
            "gridengine", 4, 2, "n1 3 all.q@n1 UNDEFINED\nn2 1 all.q@n2 UNDEFINED\n",
            "the run wants 2 hosts with 2 ranks each, and Grid Engine gave it slots: n1 3, n2 1",
        ),
        (
            "pbs", 4, 2, "n1\nn1\nn1\nn1\n",
            "the run wants 2 hosts with 2 ranks each, and PBS gave it slots: n1 4",
        ),
    ],
)  # fmt: skip
def test_ranks_that_cannot_lie_as_they_were_asked_for(
    tmp_path: Path, site: str, ranks: int, nodes: int, hosts: str, problem: str
) -> None:
    stage = Given(tmp_path, site, ranks, nodes)
    assert stage.started(hosts) == (2, f"bundle: {problem}\n-> {ADVICE[site]}\n")
    assert stage.files.exit_code.read_text() == "2\n"
    assert not (stage.files.root / "seen.json").exists()


def test_more_hosts_for_one_node_are_a_warning(tmp_path: Path) -> None:
    code, said = Given(tmp_path, "gridengine", 2, 1).started("n1 1 q U\nn2 1 q U\n")
    assert (code, said) == (
        0,
        "bundle: warning: the run wants 1 host with 2 ranks, and Grid Engine gave it slots: "
        "n1 1, n2 1\n",
    )
