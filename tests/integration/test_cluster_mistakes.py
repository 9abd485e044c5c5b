"""What a config for a cluster can have wrong, by the real command line: message, and no trace."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, Dict, List

import pytest

from tests.integration.conftest import Bench

pytestmark = [pytest.mark.image]

PROFILE = """\
name: kite
description: a cluster of two kinds of nodes
scheduler: slurm
max_nodes: 4
max_walltime: "02:00:00"
nodetypes:
  large: {ranks: 4, cores: 8}
  small: {ranks: 2, cores: 4}
directives: ["--nodes={nodes}", "--ntasks-per-node={ranks_per_node}", "--time={walltime}"]
"""

#: Two nodes, one of them in two partitions, as `sinfo --noheader --format=%N --Node` lists them.
TOOLS = {"sinfo": "printf 'n1\\nn1\\nn2\\n'", "sbatch": "echo 7"}

KEYS = "change these keys; docs/configuration.md lists every key"
LINES = "leave these out of others, or write a site profile of your own"


@pytest.fixture
def cluster(bench: Bench, tmp_path: Path) -> Bench:
    tools, profiles = tmp_path / "tools", tmp_path / "config" / "bundle" / "sites"
    profiles.mkdir(parents=True)
    (profiles / "kite.yaml").write_text(PROFILE)
    tools.mkdir()
    for name, text in TOOLS.items():
        (tools / name).write_text(f"#!/bin/sh\n{text}\n")
        (tools / name).chmod(0o755)
    bench.environment.update(
        PATH=f"{tools}:{os.environ['PATH']}", XDG_CONFIG_HOME=str(tmp_path / "config")
    )
    return bench


def config(bench: Bench, **changes: Any) -> Path:
    values: Dict[str, Any] = {"site": "kite", "nnodetype": "small", "ranks_per_node": "", **changes}
    return bench.config("wrong", **values)


def said(stderr: str) -> str:
    """Without what goes along with every submit."""
    lines: List[str] = stderr.splitlines(keepends=True)
    return "".join(line for line in lines if "check the images" not in line)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"site": "mars"},
            "site: there is no site 'mars'\n-> known sites: abci3, gridengine, kite, local, pbs, "
            "slurm, tsubame3, tsubame4",
        ),
        (
            {"nnodetype": "f_node"},
            "nnodetype: site kite has no node type 'f_node'\n"
            "-> node types of this site: large, small",
        ),
        (
            {"nnodetype": ""},
            "nnodetype: is missing, site kite has more than one node type\n"
            "-> node types of this site: large, small",
        ),
        (
            {"walltime": "02:00:01", "nnodes": 5, "ranks_per_node": 1, "batchsize": 1},
            "nnodes: 5 asked for, site kite has 4\n"
            "walltime: 02:00:01 asked for, site kite allows 02:00:00; a longer run goes on by "
            f"itself with submit --chain\n-> {KEYS}",
        ),
        (
            {"nnodes": 3},
            "nnodes: 3 asked for, Slurm has 2 here: the job would wait for ever\n"
            "-> use at most 2, or name another partition in others",
        ),
        (
            {"others": {"N": "2", "gpus-per-task": "1"}},
            "others.N: collides with bundle's own `#SBATCH --nodes=1`; use the key nnodes\n"
            "others.gpus-per-task: bundle does not pass gpus-per-task on; ChainerMN chooses among "
            f"all GPUs of a node; use gpus-per-node\n-> {LINES}",
        ),
        (
            {"others": {"comment": "$(touch owned)"}},
            "others.comment: '$(touch owned)' cannot stand on a directive line: expected letters, "
            "digits, spaces and _.,:=/+@%*&|!~^()[]<>{}-\n"
            "-> change these keys; docs/sites.md says what may stand on a directive line",
        ),
    ],
)
def test_what_a_cluster_cannot_do(cluster: Bench, changes: Dict[str, Any], message: str) -> None:
    done = cluster.bundle("submit", config(cluster, **changes), code=2)
    assert (done.stdout, said(done.stderr)) == ("", f"bundle: {message}\n")
    assert not cluster.out.exists()
    assert not list(cluster.root.rglob("owned"))


def test_a_module_file_that_does_not_exist(cluster: Bench) -> None:
    path = config(cluster, modules="/no/such/modules")
    done = cluster.bundle("submit", path, code=2)
    assert (done.stdout, done.stderr) == (
        "",
        f"bundle: {path}: modules: /no/such/modules: cannot be read: No such file or directory\n"
        "-> correct the file; docs/configuration.md lists every key\n",
    )
    assert not cluster.out.exists()


def test_a_scheduler_that_refuses(cluster: Bench, tmp_path: Path) -> None:
    words = "sbatch: error: Batch job submission failed: Invalid account or account/partition"
    (tmp_path / "tools" / "sbatch").write_text(f'#!/bin/sh\necho "{words}" >&2\nexit 1\n')
    done = cluster.bundle("submit", config(cluster, group="nobodys"), code=2)
    assert said(done.stderr).splitlines()[-2:] == [
        f"bundle: Slurm refuses the job: {words}",
        "-> change what it names in the config (or the site profile), then submit again",
    ]
    assert list(cluster.out.iterdir()) == []


def test_a_folder_that_the_nodes_do_not_see(cluster: Bench) -> None:
    folder = Path(tempfile.mkdtemp(prefix="hidden-", dir="/dev/shm"))
    hidden = folder / "runs"
    try:
        done = cluster.bundle("submit", config(cluster, out=str(hidden)))
        assert (
            f"bundle: warning: out: {hidden} lies below /dev/shm, which each machine has for "
            "itself: the nodes of site kite will not see it\n"
        ) in done.stderr
    finally:
        shutil.rmtree(folder)
