"""Where a run is placed: limits of a site, its defaults, and a rerun on another site."""

from __future__ import annotations

from typing import Any, Dict, List, Optional

import pytest

from container.trouble import Trouble
from jobtemplates.sites import PROFILES, Site, load_site, parse_site
from manifests.doctor.job_check import JobOptions, placement_of_job, world_of_job
from manifests.host.placing import (
    chain_warnings,
    charged,
    limit_problems,
    place,
    place_again,
    unseen_warnings,
)
from manifests.record.schema import Manifest, Paths, Placement, World
from tests.records import manifest_values


def site(name: str = "tsubame3") -> Site:
    return load_site(name, [PROFILES])


def made(ranks: int = 8, nodes: int = 2, communicator: str = "naive", **placement: Any) -> Manifest:
    values = manifest_values()
    values["identity"]["world"] = {"ranks": ranks, "nodes": nodes}
    values["identity"]["training"]["communicator"] = communicator
    values["circumstance"]["placement"] = {"site": "tsubame3", "jobname": "digits", **placement}
    return Manifest.model_validate(values)


def test_limits() -> None:
    assert limit_problems(site(), "f_node", 540, "24:00:00") == []
    assert limit_problems(site(), "f_node", 541, "24:00:01") == [
        "nnodes: 541 asked for, site tsubame3 has 540",
        "walltime: 24:00:01 asked for, site tsubame3 allows 24:00:00; "
        "a longer run goes on by itself with submit --chain",
    ]
    assert limit_problems(site("abci3"), "rt_HG", 2, None) == [
        "nnodes: 2 asked for, site abci3 has 1 of type rt_HG"
    ]
    assert limit_problems(site("slurm"), None, 10**6, "9999:00:00") == []


def test_a_site_fills_in_what_its_scheduler_wants() -> None:
    asked = Placement(site="tsubame3", jobname="digits", nodetype="f_node", group="tga")
    placed = place(asked, site(), World(ranks=4, nodes=1), with_gpus=True)
    assert (placed.walltime, placed.scheduler) == ("01:00:00", "gridengine")
    assert placed.submit_options == ["-g", "tga"]
    here = place(
        Placement(site="local", jobname="x"),
        site("local"),
        World(ranks=1, nodes=1),
        with_gpus=False,
    )
    assert (here.walltime, here.scheduler, here.submit_options) == (None, "local", [])


def test_a_rerun_on_the_same_site_asks_for_the_same() -> None:
    old = made(nodetype="f_node", group="tga", modules=["openmpi"], others={"m": "abe"})
    placed, warnings = place_again(old, site())
    assert warnings == []
    assert placed.model_dump() == {
        **old.circumstance.placement.model_dump(),
        "walltime": "01:00:00",
        "scheduler": "gridengine",
        "submit_options": ["-g", "tga"],
    }


def test_a_rerun_elsewhere_leaves_behind_what_means_nothing_there() -> None:
    old = made(
        nodetype="f_node", group="tga", modules=["openmpi"], others={"m": "abe", "j": "y"},
        walltime="20:00:00",
    )  # fmt: skip
    placed, warnings = place_again(old, site("abci3"))
    assert warnings == ["nodetype, group, modules, others of site tsubame3: not used on site abci3"]
    assert (placed.nodetype, placed.group, placed.modules) == ("rt_HF", None, [])
    assert (placed.others, placed.walltime) == ({"j": "y"}, "20:00:00")
    assert (placed.scheduler, placed.submit_options) == ("pbs", [])


def test_a_rerun_may_be_charged_to_another_group() -> None:
    old = made(nodetype="f_node", group="tga")
    placed, warnings = place_again(old, site(), "tgb")
    assert (placed.group, placed.submit_options, warnings) == ("tgb", ["-g", "tgb"], [])
    placed, warnings = place_again(old, site("abci3"), "gaa50001")
    assert (placed.group, placed.submit_options) == ("gaa50001", [])
    assert warnings == ["nodetype of site tsubame3: not used on site abci3"]


@pytest.mark.parametrize(
    ("name", "asked", "words"),
    [
        ("tsubame3", {"nodetype": "f_node"}, ["-g", "new"]),
        ("slurm", {}, ["--account=new"]),
        ("gridengine", {}, ["-P", "new"]),
        ("abci3", {"nodetype": "rt_HF"}, ["-P", "new"]),
        ("local", {}, []),
    ],
)
def test_a_resumed_run_may_be_charged_to_another_group(
    name: str, asked: Dict[str, Any], words: List[str]
) -> None:
    profile = site(name)
    placed, _ = place_again(made(site=name, group="old", walltime="01:00:00", **asked), profile)
    old = made(**placed.model_dump(exclude={"jobname", "nodes"}))
    again = charged(old, profile, "new")
    assert (again.group, again.submit_options) == ("new", words)


def test_a_group_that_cannot_stand_on_a_command_line() -> None:
    with pytest.raises(Trouble) as caught:
        charged(made(nodetype="f_node", group="tga"), site(), "-x $(id)")
    assert str(caught.value) == (
        "group: '-x $(id)' cannot stand on a directive line: expected letters, digits and "
        "_ . + - @, not first a dash\n"
        "-> change these keys; docs/sites.md says what may stand on a directive line"
    )


@pytest.mark.parametrize(
    ("scheduler", "walltime", "follow_ups", "warning"),
    [
        ("pbs", None, 2,
         "--chain without a walltime: PBS sends no warning before it ends a job: each follow-up "
         "repeats the steps since the last checkpoint; set the key walltime"),
        ("local", None, 1,
         "--chain without a walltime: nothing ends the job on this machine, so no follow-up will "
         "be needed; set the key walltime"),
        ("pbs", None, 0, None),
        ("pbs", "01:00:00", 2, None),
        ("slurm", None, 2, None),
        ("gridengine", None, 2, None),
    ],
)  # fmt: skip
def test_a_chain_where_no_end_is_known(
    scheduler: str, walltime: Optional[str], follow_ups: int, warning: Optional[str]
) -> None:
    placed = Placement(site="x", jobname="x", scheduler=scheduler, walltime=walltime)
    assert chain_warnings(placed, follow_ups) == ([warning] if warning else [])


def test_what_the_doctors_job_asks_for() -> None:
    tsubame = site("tsubame3")
    for asked, ranks, nodetype, options in (
        (JobOptions(), 2, "h_node", []),
        (JobOptions(nodetype="f_node", group="tga"), 4, "f_node", ["-g", "tga"]),
        (JobOptions(nodes=3, nodetype="f_node"), 12, "f_node", []),
        (JobOptions(nodes=2, nodetype="s_gpu"), 2, "s_gpu", []),
        (JobOptions(nodes=2), 2, "q_node", []),
    ):
        world = world_of_job(tsubame, asked)
        placed = placement_of_job(tsubame, "cuda12", asked)
        assert (world.ranks, world.nodes) == (ranks, asked.nodes), asked
        assert (placed.nodetype, placed.submit_options) == (nodetype, options), asked
    for asked, text in (
        (JobOptions(nodetype="x"),
         "nnodetype: site tsubame3 has no node type 'x'\n"
         "-> node types of this site: f_node, h_node, q_node, s_gpu"),
        (JobOptions(nodes=541, nodetype="f_node"),
         "nnodes: 541 asked for, site tsubame3 has 540\n-> give another --nodes"),
        (JobOptions(nodetype="s_gpu"),
         "node type s_gpu has one rank: a job of one cannot show that ranks find each other\n"
         "-> give --nodes 2, or a larger --nodetype"),
        (JobOptions(group="a b"),
         "group: 'a b' cannot stand on a directive line: expected letters, digits and _ . + - @, "
         "not first a dash\n"
         "-> change these keys; docs/sites.md says what may stand on a directive line"),
    ):  # fmt: skip
        with pytest.raises(Trouble) as caught:
            placement_of_job(tsubame, "cuda12", asked)
        assert str(caught.value) == text


def test_a_walltime_that_is_too_long_there_becomes_the_longest() -> None:
    placed, warnings = place_again(made(walltime="30:00:00", nodetype="f_node"), site())
    assert placed.walltime == "24:00:00"
    assert warnings == ["walltime: 30:00:00 becomes 24:00:00, what tsubame3 allows"]


def test_fewer_nodes_only_where_the_sums_do_not_follow_them() -> None:
    placed, _ = place_again(made(), site("local"))
    assert placed.nodes == 1
    with pytest.raises(Trouble) as caught:
        place_again(made(communicator="hierarchical"), site("local"))
    assert str(caught.value) == (
        "the run has 2 nodes and its communicator hierarchical sums by them, site local has 1\n"
        "-> rerun it on a site with as many nodes, or with --nodes N and --processes P, which keep "
        "the order of its sums"
    )


def test_no_node_type_is_large_enough() -> None:
    keys: Dict[str, Any] = {"ranks": 2, "cores": 4}
    small = parse_site(
        {"name": "x", "description": "", "scheduler": "slurm", "nodetypes": {"a": keys, "b": keys}},
        "x.yaml",
    )
    with pytest.raises(Trouble) as caught:
        place_again(made(), small)
    assert str(caught.value) == (
        "the run has 4 ranks on a node, no node type of site x takes them\n"
        "-> ranks of its node types: a 2, b 2"
    )


def test_paths_that_the_nodes_will_not_see() -> None:
    paths = Paths(image="/home/i.sif", train_root="/data", val_root="/dev/shm/v", out="/tmp/a/b")
    text = "which each machine has for itself: the nodes of site slurm will not see it"
    assert unseen_warnings(site("slurm"), paths) == [
        f"out: /tmp/a/b lies below /tmp, {text}",
        f"val_root: /dev/shm/v lies below /dev/shm, {text}",
    ]
    assert unseen_warnings(site("local"), paths) == []
