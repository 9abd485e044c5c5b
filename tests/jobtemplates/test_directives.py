"""The head of a job script: placeholders, the key ``others``, and what is refused there."""

from __future__ import annotations

from typing import Any, List

import pytest

from container.trouble import Trouble
from jobtemplates.directives import directives, joins_streams
from jobtemplates.placeholders import filled
from jobtemplates.sites import PROFILES, load_site, parse_site
from manifests.record.schema import Placement, World

HEAD = {
    "slurm": [
        "--job-name=digits", "--output=logs/scheduler.log", "--open-mode=append", "--no-requeue",
        "--signal=B:USR2@300", "--nodes=2", "--ntasks-per-node=3",
    ],
    "gridengine": [
        "-S /bin/bash", "-cwd", "-V", "-N digits", "-o logs/scheduler.log", "-j y", "-r n",
        "-notify", "-pe mpi 6",
    ],
    "pbs": [
        "-S /bin/bash", "-V", "-N digits", "-o logs/scheduler.log", "-j oe", "-r n",
        "-l select=2:mpiprocs=3", "-l place=scatter",
    ],
}  # fmt: skip
ALIKE = "change these keys; docs/sites.md says what may stand on a directive line"


def head(name: str, **asked: Any) -> List[str]:
    site = load_site(name, [PROFILES])
    placement = Placement(**{"site": name, "jobname": "digits", **asked})
    return directives(site, placement, World(ranks=6, nodes=2), with_gpus=False)[0]


@pytest.mark.parametrize("name", sorted(HEAD))
def test_what_was_not_asked_for_is_left_out(name: str) -> None:
    assert head(name) == HEAD[name]


@pytest.mark.parametrize(
    ("name", "others", "lines"),
    [
        ("slurm", {"partition": "gpu"}, ["--partition=gpu"]),
        ("slurm", {"p": "gpu", "exclusive": ""}, ["--partition=gpu", "--exclusive"]),
        ("slurm", {"--qos": "high", "comment": "a b"}, ["--qos=high", '"--comment=a b"']),
        (
            "slurm",
            {"j": "y", "m": "abe", "M": "a@b.org"},
            ["--mail-type=FAIL,BEGIN,END", "--mail-user=a@b.org"],
        ),
        ("gridengine", {"j": "y", "m": "abe", "p": "-5"}, ["-m abe", "-p -5"]),
        ("gridengine", {"l": "h_vmem=4G,gpu=1", "R": "y"}, ["-l h_vmem=4G,gpu=1", "-R y"]),
        ("gridengine", {"hard": "", "w": "e"}, ["-hard", "-w e"]),
        ("pbs", {"j": "oe", "l": "mem=4gb", "W": "umask=022"}, ["-l mem=4gb", "-W umask=022"]),
    ],
)
def test_others(name: str, others: Any, lines: List[str]) -> None:
    assert head(name, others=others) == HEAD[name] + lines


@pytest.mark.parametrize(
    ("name", "asked", "problem"),
    [
        (
            "slurm",
            {"others": {"N": "3"}},
            "others.N: collides with bundle's own `#SBATCH --nodes=2`; use the key nnodes",
        ),
        (
            "slurm",
            {"others": {"time": "1:00"}, "walltime": "2:00:00"},
            "others.time: collides with bundle's own `#SBATCH --time=2:00:00`; "
            "use the key walltime",
        ),
        (
            "slurm",
            {"others": {"time": "1:00"}},
            "others.time: bundle does not pass time on; use the key walltime",
        ),
        (
            "slurm",
            {"others": {"requeue": ""}},
            "others.requeue: collides with bundle's own `#SBATCH --no-requeue`; "
            "a run goes on by submit --chain or resume",
        ),
        (
            "slurm",
            {"others": {"a": "1-3"}},
            "others.a: bundle does not pass array on; one run is one job",
        ),
        (
            "gridengine",
            {"others": {"l": "mem=1G,h_rt=1:0:0"}, "walltime": "2:00:00"},
            "others.l: collides with bundle's own `#$ -l h_rt=2:00:00`; use the key walltime",
        ),
        (
            "gridengine",
            {"others": {"pe": "smp 4"}},
            "others.pe: collides with bundle's own `#$ -pe mpi 6`",
        ),
        (
            "gridengine",
            {"others": {"o": "/home/ada/log"}},
            "others.o: collides with bundle's own `#$ -o logs/scheduler.log`; use the key stdout",
        ),
        (
            "pbs",
            {"others": {"l": "select=9:mpiprocs=1"}},
            "others.l: collides with bundle's own `#PBS -l select=2:mpiprocs=3`; "
            "use the keys nnodetype, nnodes and ranks_per_node",
        ),
        (
            "pbs",
            {"others": {"W": "depend=afterok:1"}},
            "others.W: bundle does not pass -W depend on; use submit --chain",
        ),
        (
            "pbs",
            {"others": {"Nx": ""}},
            "others.Nx: collides with bundle's own `#PBS -N digits`; use the key jobname",
        ),
        (
            "pbs",
            {"others": {"z": ""}},
            "others.z: bundle does not pass -z on; bundle reads what qsub prints",
        ),
        *(
            ("slurm", {"others": {key: ""}}, f"others.{key}: bundle does not pass {name} on; {why}")
            for key, name, why in [
                ("wait", "wait", "use submit --wait"),
                ("W", "wait", "use submit --wait"),
                ("parsable", "parsable", "bundle reads what sbatch prints"),
                ("test-only", "test-only", "it would start no job; use submit --dry-run"),
                ("help", "help", "it would start no job"),
                ("h", "help", "it would start no job"),
                ("usage", "usage", "it would start no job"),
                ("--version", "version", "it would start no job"),
                ("V", "version", "it would start no job"),
            ]
        ),
        *(
            (
                "gridengine",
                {"others": {key: value}},
                f"others.{key}: bundle does not pass {name} on; it would start no job{more}",
            )
            for key, value, name, more in [
                ("verify", "", "-verify", "; use submit --dry-run"),
                ("w", "v", "-w v", "; use submit --dry-run"),
                ("w", "p", "-w p", "; use submit --dry-run"),
                ("help", "", "-help", ""),
            ]
        ),
    ],
)
def test_collisions_name_both(name: str, asked: Any, problem: str) -> None:
    with pytest.raises(Trouble) as caught:
        head(name, **asked)
    assert str(caught.value) == (
        f"{problem}\n-> leave these out of others, or write a site profile of your own"
    )


@pytest.mark.parametrize("name", sorted(HEAD))
@pytest.mark.parametrize(
    "text",
    ["x\n#SBATCH --uid=0", "$(touch owned)", "`id`", 'a"b', "a'b", "a\\b", "a;b", "a#b", "é", "\t"],
)
def test_hostile_values_are_refused_one_by_one(name: str, text: str) -> None:
    with pytest.raises(Trouble) as caught:
        head(name, jobname=text, group=text, walltime=text, others={"x": text, text: "y"})
    expected = {
        "jobname": "letters, digits, dots, dashes, underscores",
        "group": "letters, digits and _ . + - @, not first a dash",
        "walltime": "hh:mm:ss",
        "others.x": "letters, digits, spaces and _.,:=/+@%*&|!~^()[]<>{}-",
        "others": "letters, digits, dashes and underscores",
    }
    assert caught.value.problems == [
        f"{where}: {text!r} cannot stand on a directive line: expected {words}"
        for where, words in expected.items()
    ]
    assert caught.value.next_step == ALIKE


def test_a_group_that_looks_like_an_option() -> None:
    with pytest.raises(Trouble):
        head("tsubame4", group="-help", nodetype="gpu_1")


def test_the_group_of_tsubame_stands_on_the_command_line() -> None:
    site = load_site("tsubame3", [PROFILES])
    asked = Placement(site="tsubame3", jobname="1st", group="tga-ada", nodetype="h_node")
    lines, options = directives(site, asked, World(ranks=4, nodes=2), with_gpus=True)
    assert options == ["-g", "tga-ada"]
    assert "-l h_node=2" in lines
    assert "-N j1st" in lines


@pytest.mark.parametrize(("share_gpus", "gpus"), [(False, 4), (True, 1)])
def test_ranks_that_may_share_a_gpu_need_one_a_node(share_gpus: bool, gpus: int) -> None:
    site = load_site("slurm", [PROFILES])
    asked = Placement(site="slurm", jobname="x", share_gpus=share_gpus)
    lines, _ = directives(site, asked, World(ranks=8, nodes=2), with_gpus=True)
    assert f"--gpus-per-node={gpus}" in lines
    lines, _ = directives(site, asked, World(ranks=8, nodes=2), with_gpus=False)
    assert not [line for line in lines if "gpus" in line]


def test_a_profile_of_ones_own() -> None:
    site = parse_site(
        {
            "name": "kite",
            "description": "",
            "scheduler": "slurm",
            "nodetypes": {
                "a": {"ranks": 2, "cores": 9, "gpus": 2, "directives": ["--gres=gpu:{gpus}"]}
            },
            "directives": ["-c {cores_per_rank}", "-n {ranks} -N {nodes}", "-t {walltime}"],
            "submit_options": ["--clusters kite", "-A {group}"],
        },
        "kite.yaml",
    )
    asked = Placement(site="kite", jobname="x", nodetype="a")
    lines, options = directives(site, asked, World(ranks=4, nodes=2), with_gpus=False)
    assert lines[-3:] == ["-c 4", "-n 4 -N 2", "--gres=gpu:2"]
    assert options == ["--clusters", "kite"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-l {group}", "-l g"),
        ("-l {walltime}", None),
        ("-l a[[:b={walltime}]][[:c={group}]]", "-l a:c=g"),
        ("-l a", "-l a"),
    ],
)
def test_placeholders(text: str, expected: str) -> None:
    assert filled(text, {"group": "g", "walltime": None}) == expected


def test_joined_output() -> None:
    assert joins_streams({"j": "y"}) and joins_streams({"j": "oe"}) and joins_streams({"-j": "yes"})
    assert not joins_streams({"j": "n"}) and not joins_streams({})
