"""Where a run is placed: what its config asks for, held against the profile of a site."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from container.trouble import Trouble
from jobtemplates.backend import Scheduler
from jobtemplates.directives import directives, seconds_of
from jobtemplates.schedulers import backend_named
from jobtemplates.sites import Site
from manifests.host.hosting import asked_for, site_problems, walltime_for
from manifests.record.communicators import COMMUNICATOR_KINDS
from manifests.record.schema import Manifest, Paths, Placement, World

#: Folders that each machine has for itself.
OWN_FOLDERS = tuple(map(Path, ("/tmp", "/var/tmp", "/dev/shm", "/run")))


def limit_problems(
    site: Site, nodetype: Optional[str], nodes: int, walltime: Optional[str]
) -> List[str]:
    """What the site does not allow, by its profile."""
    problems = []
    there_are = site.nodes_there_are(nodetype)
    if there_are is not None and nodes > there_are:
        of_type = f" of type {nodetype}" if nodetype and there_are != site.max_nodes else ""
        problems.append(f"nnodes: {nodes} asked for, site {site.name} has {there_are}{of_type}")
    limit = site.max_walltime
    if walltime and limit and seconds_of(walltime) > seconds_of(limit):
        problems.append(
            f"walltime: {walltime} asked for, site {site.name} allows {limit}; "
            "a longer run goes on by itself with submit --chain"
        )
    return problems


def place(asked: Placement, site: Site, world: World, *, with_gpus: bool) -> Placement:
    """What the scheduler of ``site`` is asked for; the site's defaults are filled in.

    Raises Trouble for values that it cannot be given, and for directives that collide.
    """
    placement = asked.model_copy(
        update={
            "site": site.name,
            "walltime": asked.walltime or site.default_walltime,
            "scheduler": site.scheduler,
            "submit_options": [],
        }
    )
    if site.backend.runs_here:
        return placement
    _, options = directives(site, placement, world, with_gpus=with_gpus)
    return placement.model_copy(update={"submit_options": options})


def place_again(
    manifest: Manifest,
    site: Site,
    group: Optional[str] = None,
    processes: Optional[int] = None,
    nodes: Optional[int] = None,
) -> Tuple[Placement, List[str]]:
    """The placement of a rerun on ``site``, and what had to be left behind.

    It has so many processes on so many nodes. With neither given it has those of the run, on
    another site as many processes as ranks. There the old one's node type, group, modules and
    directives mean nothing; ``group`` is charged where given.

    Raises Trouble when the ranks cannot lie there as the bits ask for, and for numbers of processes
    that the run or the site cannot have.
    """
    before, world = manifest.circumstance.placement, manifest.identity.world
    if processes is None and nodes is None and before.site == site.name and before.processes:
        processes, nodes = before.processes, before.nodes
    asked = processes is not None or nodes is not None
    update: Dict[str, Any] = {"nodes": None, "processes": None}
    warnings: List[str] = []
    if before.site != site.name:
        wanted = asked_for(world, processes, nodes, site.max_nodes) if asked else world
        foreign, warnings = site_bound(before, site, group)
        update.update({**foreign, "nodetype": nodetype_for(site, wanted)})
    if group:
        update["group"] = group
    nodetype = update.get("nodetype", before.nodetype)
    if asked:
        layout = asked_for(world, processes, nodes, site.nodes_there_are(nodetype))
        refuse_crowded(site, nodetype, layout)
        update["processes"] = None if layout.ranks == world.ranks else layout.ranks
        update["nodes"] = None if layout.nodes == world.nodes else layout.nodes
    else:
        update["nodes"] = fewer_nodes(manifest, site, nodetype)
    walltime = walltime_for(before, world.ranks, update["processes"] or world.ranks)
    limit = site.max_walltime
    if walltime and limit and seconds_of(walltime) > seconds_of(limit):
        warnings.append(f"walltime: {walltime} becomes {limit}, what {site.name} allows")
        walltime = limit
    # Without a scheduler nobody ends it, so it need not stop.
    update["walltime"] = None if site.backend.runs_here else walltime
    moved = before.model_copy(update=update)
    with_gpus = manifest.promises.gpu is not None
    return place(moved, site, moved.layout(world), with_gpus=with_gpus), warnings


def site_bound(
    before: Placement, site: Site, group: Optional[str]
) -> Tuple[Dict[str, Any], List[str]]:
    """What of a placement means nothing on another site, emptied, and a warning that names it."""
    foreign: Dict[str, Any] = {"nodetype": None, "group": None, "modules": [], "others": {}}
    left = [name for name in foreign if getattr(before, name) and not (name == "group" and group)]
    joined = {key: value for key, value in before.others.items() if key == "j"}
    text = f"{', '.join(left)} of site {before.site}: not used on site {site.name}"
    return {**foreign, "others": joined}, [text] if left else []


def fewer_nodes(manifest: Manifest, site: Site, nodetype: Optional[str]) -> Optional[int]:
    """The nodes of the site where they are fewer than the run's, else None.

    Raises Trouble where the bits would be others there, or the ranks do not lie on them evenly.
    """
    world, communicator = manifest.identity.world, manifest.identity.training.communicator
    there_are = site.nodes_there_are(nodetype)
    if there_are is None or world.nodes <= there_are:
        return None
    if COMMUNICATOR_KINDS[communicator].sums_by_node or world.ranks % there_are:
        raise Trouble(
            f"the run has {world.nodes} nodes and its communicator {communicator} sums by "
            f"them, site {site.name} has {there_are}",
            "rerun it on a site with as many nodes, or with --nodes N and --processes P, which "
            "keep the order of its sums",
        )
    return there_are


def place_on(
    manifest: Manifest,
    site: Site,
    group: Optional[str],
    processes: Optional[int],
    nodes: Optional[int],
) -> Placement:
    """The placement of a further job of a written run, with other processes, on the run's site.

    Raises Trouble for what the run or the site cannot have.
    """
    before, world = manifest.circumstance.placement, manifest.identity.world
    layout = asked_for(world, processes, nodes, site.nodes_there_are(before.nodetype))
    refuse_crowded(site, before.nodetype, layout)
    walltime, limit = walltime_for(before, world.ranks, layout.ranks), site.max_walltime
    if walltime and limit and seconds_of(walltime) > seconds_of(limit):
        walltime = limit
    update = {"processes": layout.ranks, "nodes": layout.nodes, "walltime": walltime}
    moved = before.model_copy(update={**update, "group": group or before.group})
    return place(moved, site, layout, with_gpus=manifest.promises.gpu is not None)


def refuse_crowded(site: Site, nodetype: Optional[str], layout: World) -> None:
    problems = site_problems(site, nodetype, layout)
    if problems:
        raise Trouble(problems, "give fewer processes, or more nodes: --processes P, --nodes N")


def charged(manifest: Manifest, site: Site, group: str) -> Placement:
    """The placement of a written run with another group: its job script stays as it is, and what
    names the group is said on the command line, which goes before the script.

    Raises Trouble for a group that cannot stand there.
    """
    before = manifest.circumstance.placement
    after = before.model_copy(update={"group": group})
    if site.backend.runs_here:
        return after
    world = before.layout(manifest.identity.world)
    with_gpus = manifest.promises.gpu is not None
    written, _ = directives(site, before, world, with_gpus=with_gpus)
    wanted, options = directives(site, after, world, with_gpus=with_gpus)
    words = [word for line in wanted if line not in written for word in line.split()]
    return after.model_copy(update={"submit_options": [*options, *words]})


def chain_warnings(placement: Placement, follow_ups: int) -> List[str]:
    """Follow-up jobs where nothing tells the ranks when to save and end."""
    if not follow_ups or placement.walltime:
        return []
    backend = backend_named(placement.scheduler)
    if backend.runs_here:
        why = "nothing ends the job on this machine, so no follow-up will be needed"
    elif backend.warns:
        return []
    else:
        why = (
            f"{backend.title} sends no warning before it ends a job: "
            "each follow-up repeats the steps since the last checkpoint"
        )
    return [f"--chain without a walltime: {why}; set the key walltime"]


def nodetype_for(site: Site, world: World) -> Optional[str]:
    """The smallest node type that takes a node's ranks; None where the site names none.

    Raises Trouble when there is none so large.
    """
    if not site.nodetypes:
        return None
    per_node = world.ranks // world.nodes
    kinds = site.nodetypes.items()
    fitting = [(kind.ranks, name) for name, kind in kinds if kind.ranks >= per_node]
    if not fitting:
        known = ", ".join(f"{name} {kind.ranks}" for name, kind in sorted(kinds))
        raise Trouble(
            f"the run has {per_node} ranks on a node, no node type of site {site.name} takes them",
            f"ranks of its node types: {known}",
        )
    return min(fitting)[1]


def output_warnings(site: Site, run: Path) -> List[str]:
    """Where the scheduler cannot write its own words into a folder of this name."""
    backend = site.backend
    text = backend.output_warning(run) if isinstance(backend, Scheduler) else None
    return [] if text is None else [text]


def unseen_warnings(site: Site, paths: Paths) -> List[str]:
    """Paths that the nodes of a cluster most likely do not see."""
    if site.backend.runs_here:
        return []
    named = {
        "out": paths.out,
        "train_root": paths.train_root,
        "val_root": paths.val_root,
        "train_pack": paths.train_pack,
        "val_pack": paths.val_pack,
        "the image": paths.image,
    }
    return [
        f"{name}: {path} lies below {folder}, which each machine has for itself: "
        f"the nodes of site {site.name} will not see it"
        for name, path in named.items()
        for folder in OWN_FOLDERS
        if path and folder in Path(path).parents
    ]
