"""Fewer processes than ranks: what is asked of a site, what is refused and what is said of it."""

from __future__ import annotations

from typing import Any, Dict, List, Optional

import pytest

from container.trouble import Trouble
from jobtemplates.sites import PROFILES, Site, load_site
from manifests.host.hosting import (
    HOSTING_CODE,
    asked_for,
    is_hosted,
    nodes_for,
    notes,
    refusal,
    walltime_for,
)
from manifests.host.placing import place_again, place_on
from manifests.record.schema import Manifest, Placement, World
from tests.records import manifest_values


def site(name: str = "tsubame3") -> Site:
    return load_site(name, [PROFILES])


def made(
    ranks: int = 8,
    nodes: int = 2,
    communicator: str = "flat",
    *,
    able: bool = True,
    gpus: bool = False,
    placed: Optional[Dict[str, int]] = None,
    **placement: Any,
) -> Manifest:
    """``able``: its snapshot has the code that computes several ranks in a process."""
    values = manifest_values()
    values["identity"]["world"] = {"ranks": ranks, "nodes": nodes}
    values["identity"]["training"]["communicator"] = communicator
    if able:
        values["identity"]["code"]["files"][HOSTING_CODE] = {"sha256": "0" * 64, "size": 1}
    if gpus:
        values["promises"]["gpu"] = {"driver": "525.60.13", "capabilities": ["8.0"]}
    values["circumstance"]["placement"] = {
        "site": "tsubame3", "jobname": "digits", **placement, **(placed or {}),
    }  # fmt: skip
    return Manifest.model_validate(values)


@pytest.mark.parametrize(
    ("processes", "nodes", "there_are", "layout"),
    [
        (None, None, None, (8, 2)),
        (1, None, None, (1, 1)),
        (2, None, None, (2, 2)),
        (3, None, None, (3, 1)),
        (6, None, None, (6, 2)),
        (6, None, 1, (6, 1)),
        (6, 3, None, (6, 3)),
        (None, 1, None, (8, 1)),
        (None, 4, None, (8, 4)),
    ],
)
def test_what_a_job_is_given(
    processes: Optional[int], nodes: Optional[int], there_are: Optional[int], layout: Any
) -> None:
    found = asked_for(World(ranks=8, nodes=2), processes, nodes, there_are)
    assert (found.ranks, found.nodes) == layout


@pytest.mark.parametrize(
    ("processes", "nodes", "text"),
    [
        (0, None, "processes: 0 asked for, a run needs at least 1\n-> use 1 to 8 processes"),
        (-3, None, "processes: -3 asked for, a run needs at least 1\n-> use 1 to 8 processes"),
        (9, None,
         "processes: 9 asked for, the run has 8 ranks: each process computes at least one\n"
         "-> use 1 to 8 processes"),
        (2, 0, "nodes: 0 asked for, a run needs at least 1\n-> use at least 1"),
        (3, 2,
         "nodes: 3 processes cannot lie on 2 nodes in equal shares\n"
         "-> use 1 nodes, or another number of processes"),
        (8, 8, "nodes: 8 asked for, the site has 5\n-> use 5"),
    ],
)  # fmt: skip
def test_numbers_that_no_job_can_have(processes: int, nodes: Optional[int], text: str) -> None:
    with pytest.raises(Trouble) as caught:
        asked_for(World(ranks=8, nodes=2), processes, nodes, 5)
    assert str(caught.value) == text


def test_equal_shares() -> None:
    assert [nodes_for(count, 4) for count in (1, 2, 3, 4, 6, 7, 8)] == [1, 2, 3, 4, 3, 1, 4]


def test_a_site_is_asked_for_processes() -> None:
    """Placeholders, node type and walltime follow the processes, on the site of the run and
    elsewhere."""
    old = made(nodetype="f_node", group="tga", walltime="02:00:00")
    placed, warnings = place_again(old, site(), processes=2)
    assert (placed.processes, placed.nodes, placed.walltime) == (2, None, "08:00:00")
    placed, warnings = place_again(old, site(), processes=2, nodes=1)
    assert (placed.processes, placed.nodes, placed.nodetype) == (2, 1, "f_node")
    assert warnings == []
    placed, warnings = place_again(old, site("abci3"), processes=1)
    assert (placed.processes, placed.nodes, placed.nodetype) == (1, 1, "rt_HG")
    assert warnings == ["nodetype, group of site tsubame3: not used on site abci3"]
    assert placed.walltime == "16:00:00"


def test_a_walltime_that_grew_too_long() -> None:
    placed, warnings = place_again(
        made(nodetype="f_node", walltime="10:00:00"), site(), processes=1
    )
    assert placed.walltime == "24:00:00"
    assert warnings == ["walltime: 80:00:00 becomes 24:00:00, what tsubame3 allows"]


def test_asking_again_on_the_same_site_and_elsewhere() -> None:
    """A run of two processes is repeated by two, on another site by as many as ranks."""
    hosted = {"processes": 2, "nodes": 1}
    old = made(nodetype="f_node", walltime="08:00:00", placed=hosted)
    placed, _ = place_again(old, site())
    assert (placed.processes, placed.nodes, placed.walltime) == (2, 1, "08:00:00")
    placed, _ = place_again(old, site(), processes=8)
    assert (placed.processes, placed.nodes, placed.walltime) == (None, None, "02:00:00")
    placed, _ = place_again(old, site("slurm"))
    assert (placed.processes, placed.nodes, placed.walltime) == (None, None, "02:00:00")
    placed, _ = place_again(old, site("local"))
    assert (placed.processes, placed.nodes, placed.walltime) == (None, 1, None)


def test_more_processes_than_a_node_takes() -> None:
    for place in (
        lambda: place_again(made(nodetype="f_node"), site(), processes=8, nodes=1),
        lambda: place_on(made(nodetype="f_node"), site(), None, 8, 1),
    ):
        with pytest.raises(Trouble) as caught:
            place()
        assert str(caught.value) == (
            "processes: 8 processes on 1 node asked for, a node of type f_node of site tsubame3 "
            "takes 4\n"
            "-> give fewer processes, or more nodes: --processes P, --nodes N"
        )


def test_more_nodes_than_the_site_has() -> None:
    with pytest.raises(Trouble) as caught:
        place_again(made(), site("local"), processes=4, nodes=2)
    assert str(caught.value) == "nodes: 2 asked for, the site has 1\n-> use 1"


def test_a_further_job_keeps_all_but_its_processes() -> None:
    old = made(site="slurm", walltime="01:00:00", group="g", others={"mem": "8G"})
    placed = place_on(old, site("slurm"), None, 3, None)
    kept: Dict[str, Any] = {"processes": 3, "nodes": 1, "walltime": "03:00:00"}
    update = {**kept, "scheduler": "slurm", "submit_options": placed.submit_options}
    assert placed == old.circumstance.placement.model_copy(update=update)
    assert place_on(old, site("slurm"), "h", 3, None).group == "h"


@pytest.mark.parametrize(
    ("before", "processes", "expected"),
    [(None, 1, None), (8, 1, "08:00:00"), (8, 3, "03:00:00"), (8, 8, "01:00:00"),
     (1, 8, "00:07:30"), (2, 1, "02:00:00")],
)  # fmt: skip
def test_walltime(before: Optional[int], processes: int, expected: Optional[str]) -> None:
    walltime = None if before is None else "01:00:00"
    placement = Placement(site="x", jobname="x", walltime=walltime, processes=before)
    assert walltime_for(placement, 8, processes) == expected


@pytest.mark.parametrize(
    ("communicator", "processes", "nodes", "hosted"),
    [("flat", 8, 2, False), ("flat", 8, 1, False), ("flat", 4, 2, True),
     ("hierarchical", 8, 2, False), ("hierarchical", 8, 1, True), ("ordered", 8, 8, False),
     ("single_node", 1, 1, True)],
)  # fmt: skip
def test_who_adds(communicator: str, processes: int, nodes: int, hosted: bool) -> None:
    layout = World(ranks=processes, nodes=nodes)
    assert is_hosted(made(communicator=communicator).identity, layout) == hosted


def test_an_old_snapshot_is_named_with_the_reason() -> None:
    old = made(able=False)
    assert refusal(old, World(ranks=8, nodes=2)) is None
    assert refusal(old, World(ranks=8, nodes=1)) is None
    assert refusal(made(), World(ranks=2, nodes=1)) is None
    assert refusal(old, World(ranks=2, nodes=1)) == (
        ["8 ranks on 2 nodes cannot be computed by 2 processes on 1 node: the trainer in the run's "
         "snapshot is from before that was possible (its code has no "
         "trainer/communicators/ordered.py)"],
        "run it with 8 processes on 2 nodes",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("communicator", "gpus", "refused"),
    [("pure_nccl", True, True), ("hierarchical", True, True), ("two_dimensional", True, True),
     ("single_node", True, True), ("flat", True, False), ("naive", True, False),
     ("ordered", True, False), ("hierarchical", False, False)],
)  # fmt: skip
def test_sums_in_nccls_order_are_refused(communicator: str, gpus: bool, refused: bool) -> None:
    found = refusal(made(communicator=communicator, gpus=gpus), World(ranks=2, nodes=1))
    expected: Optional[Any] = (
        [f"{communicator} adds by NCCL in an order of its own: 8 ranks cannot be computed by 2 "
         "processes with the same bits"],
        "run it with one process and one GPU for each rank on 2 nodes; runs with communicator "
        "ordered, flat or naive can be computed by fewer",
    )  # fmt: skip
    assert found == (expected if refused else None)


def test_what_is_said_of_fewer_processes() -> None:
    def said(processes: Optional[int], walltime: Optional[str]) -> List[str]:
        update = {"processes": processes, "nodes": 1, "walltime": walltime}
        return notes(old, old.circumstance.placement.model_copy(update=update))

    old = made(walltime="01:00:00")
    assert said(None, "01:00:00") == []
    assert said(1, "08:00:00") == [
        "1 process on 1 node computes the 8 ranks: a step takes up to 8 times as long as with 8 "
        "processes; walltime 01:00:00 becomes 08:00:00"
    ]
    assert said(3, None) == [
        "3 processes on 1 node compute the 8 ranks: a step takes up to 3 times as long as with 8 "
        "processes"
    ]
