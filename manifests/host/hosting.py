"""Fewer processes than ranks: what may be asked for, which runs can do it, and what it costs.

Numbers of processes and nodes are a :class:`World` here, as those of ranks are: P processes on N
nodes, in equal shares.
"""

from __future__ import annotations

from typing import List, Optional, Tuple

from container.trouble import Trouble
from jobtemplates.directives import seconds_of
from jobtemplates.sites import Site
from manifests.record.communicators import COMMUNICATOR_KINDS, counted, unhosted
from manifests.record.schema import Identity, Manifest, Placement, World

#: The file of a snapshot that adds up the gradients of several ranks in a process: a trainer
#: without it computes one rank in each.
HOSTING_CODE = "trainer/communicators/ordered.py"


def asked_for(
    world: World, processes: Optional[int], nodes: Optional[int], there_are: Optional[int] = None
) -> World:
    """The processes of a job for ``world``, a run's ranks on its nodes; None: as many as ranks, and
    as many of the run's nodes as take equal shares of them.

    Raises Trouble for numbers that no run of so many ranks can have, and for more nodes than
    ``there_are``.
    """
    count = world.ranks if processes is None else processes
    if count < 1:
        raise Trouble(f"processes: {count} asked for, a run needs at least 1", most(world))
    if count > world.ranks:
        raise Trouble(
            f"processes: {count} asked for, the run has {counted(world.ranks, 'rank')}: "
            "each process computes at least one",
            most(world),
        )
    if nodes is None:
        return World(ranks=count, nodes=nodes_for(count, min(world.nodes, there_are or count)))
    if nodes < 1:
        raise Trouble(f"nodes: {nodes} asked for, a run needs at least 1", "use at least 1")
    if there_are is not None and nodes > there_are:
        raise Trouble(f"nodes: {nodes} asked for, the site has {there_are}", f"use {there_are}")
    if count % nodes:
        raise Trouble(
            f"nodes: {counted(count, 'process')} cannot lie on {nodes} nodes in equal shares",
            f"use {nodes_for(count, nodes)} nodes, or another number of processes",
        )
    return World(ranks=count, nodes=nodes)


def most(world: World) -> str:
    return f"use 1 to {world.ranks} processes"


def nodes_for(processes: int, at_most: int) -> int:
    """The largest number of nodes that processes can lie on in equal shares."""
    return next(nodes for nodes in range(at_most, 0, -1) if processes % nodes == 0)


def is_hosted(identity: Identity, layout: World) -> bool:
    """Whether the sums follow the communicator's order instead of being the communicator's own: a
    process computes more than one rank, or the nodes are not those that it sums by."""
    elsewhere = layout.nodes != identity.world.nodes
    by_node = COMMUNICATOR_KINDS[identity.training.communicator].sums_by_node
    return layout.ranks < identity.world.ranks or (elsewhere and by_node)


def refusal(manifest: Manifest, layout: World) -> Optional[Tuple[List[str], str]]:
    """Problems and next step where the run cannot be computed by these processes."""
    identity = manifest.identity
    if not is_hosted(identity, layout):
        return None
    world, name = identity.world, identity.training.communicator
    if not can_host(manifest):
        return (
            [
                f"{counted(world.ranks, 'rank')} on {counted(world.nodes, 'node')} cannot be "
                f"computed by {on_nodes(layout)}: the trainer in the run's snapshot is from before "
                f"that was possible (its code has no {HOSTING_CODE})"
            ],
            f"run it with {world.ranks} processes on {counted(world.nodes, 'node')}",
        )
    if not COMMUNICATOR_KINDS[name].can_be_hosted(with_gpus=manifest.promises.gpu is not None):
        problem, next_step = unhosted(name, world.ranks, world.nodes, layout.ranks)
        return [problem], next_step
    return None


def can_host(manifest: Manifest) -> bool:
    """Whether the trainer in the run's own snapshot can compute several ranks in a process."""
    other = manifest.circumstance.other_code
    return HOSTING_CODE in {**manifest.identity.code.files, **(other.files if other else {})}


def site_problems(site: Site, nodetype: Optional[str], layout: World) -> List[str]:
    """Where a node gets more processes than its type takes."""
    kind = site.nodetype(nodetype)
    each = layout.ranks // layout.nodes
    if kind is None or each <= kind.ranks:
        return []
    of_type = f" of type {nodetype}" if nodetype else ""
    return [
        f"processes: {on_nodes(layout)} asked for, a node{of_type} of site {site.name} takes "
        f"{kind.ranks}"
    ]


def on_nodes(layout: World) -> str:
    """``2 processes on 1 node``"""
    return f"{counted(layout.ranks, 'process')} on {counted(layout.nodes, 'node')}"


def longer(ranks: int, processes: int) -> int:
    """How many ranks the busiest process computes, one after another."""
    return -(-ranks // processes)


def walltime_for(before: Placement, ranks: int, processes: int) -> Optional[str]:
    """The walltime of a job with so many processes, from that of ``before``: the steps take as many
    times as long as a process has ranks more."""
    if before.walltime is None:
        return None
    factor = longer(ranks, processes) / longer(ranks, before.processes or ranks)
    seconds = -int(-seconds_of(before.walltime) * factor // 1)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def notes(manifest: Manifest, placed: Placement) -> List[str]:
    """What fewer processes than ranks mean for a job, for a person."""
    ranks, before = manifest.identity.world.ranks, manifest.circumstance.placement
    layout = placed.layout(manifest.identity.world)
    if layout.ranks == ranks:
        return []
    text = (
        f"{on_nodes(layout)} compute{'s' * (layout.ranks == 1)} the {counted(ranks, 'rank')}: a "
        f"step takes up to {longer(ranks, layout.ranks)} times as long as with {ranks} processes"
    )
    if before.walltime and placed.walltime and before.walltime != placed.walltime:
        text += f"; walltime {before.walltime} becomes {placed.walltime}"
    return [text]
