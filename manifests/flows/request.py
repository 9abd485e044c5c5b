"""Request: what a config asks for on a site, and all that its own files say of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, List, Optional

from container.trouble import Trouble
from jobtemplates.sites import Site, load_site, profile_folders
from manifests.config.combinations import check_combinations
from manifests.config.config_file import read_config
from manifests.config.determinism import has_gpus, promises_for
from manifests.config.run_config import RunConfig, placement
from manifests.datasets.inputs import Lists, read_lists
from manifests.host import hosting
from manifests.host.context import HostContext
from manifests.host.placing import limit_problems, place, refuse_crowded
from manifests.record import schema
from manifests.rundir.directory import refuse_unwritable

if TYPE_CHECKING:
    from manifests.datasets.initmodel import InitModel


@dataclass(frozen=True)
class Request:
    """``world``: ranks and nodes of the identity; ``layout``: processes and nodes that compute
    them, ``placed`` what the scheduler is asked for."""

    config_path: Path
    config: RunConfig
    site: Site
    world: schema.World
    layout: schema.World
    placed: schema.Placement
    lists: Lists
    initmodel: Optional[InitModel]
    warnings: List[str] = field(default_factory=list)

    @property
    def promises(self) -> schema.Promises:
        return promises_for(self.config.stack)


def read_request(
    config_path: Path, host: HostContext, group: Optional[str], *, read_only: bool = False
) -> Request:
    """Read config, profile, lists and model; decide where the run is placed.

    Raises Trouble for whatever these files or their combination cannot be, and for an ``out`` that
    cannot be written; with ``read_only`` that is a warning.
    """
    config = read_config(config_path, home=host.home)
    site = load_site(config.site, profile_folders(host.environ))
    world = world_of(config, site)
    asked = placement_of(config, site, world, group)
    layout = asked.layout(world)
    placed = place(asked, site, layout, with_gpus=has_gpus(config.stack))
    unwritable = _unwritable(config.out, read_only=read_only)
    lists = read_inputs(config)
    refuse_combinations(config, site, world, layout, lists)
    initmodel = initmodel_of(config)
    return Request(config_path, config, site, world, layout, placed, lists, initmodel, unwritable)


def _unwritable(out: Path, *, read_only: bool) -> List[str]:
    try:
        refuse_unwritable(out)
    except Trouble as trouble:
        if not read_only:
            raise
        return [f"{problem}: submit would end here" for problem in trouble.problems]
    return []


def world_of(config: RunConfig, site: Site) -> schema.World:
    per_node = site.ranks_on_a_node(config.nnodetype, config.ranks_per_node)
    return schema.World(ranks=per_node * config.nnodes, nodes=config.nnodes)


def placement_of(
    config: RunConfig, site: Site, world: schema.World, group: Optional[str]
) -> schema.Placement:
    """What the config asks for; fewer processes than ranks lie on as many of its nodes as there are
    and as take equal shares. Raises Trouble for a number of processes that it cannot have."""
    asked = placement(config)
    if group:
        asked = asked.model_copy(update={"group": group})
    if config.processes is None:
        return asked
    there_are = site.nodes_there_are(config.nnodetype)
    layout = hosting.asked_for(world, config.processes, None, there_are)
    refuse_crowded(site, config.nnodetype, layout)
    return asked.model_copy(
        update={
            "processes": None if layout.ranks == world.ranks else layout.ranks,
            "nodes": None if layout.nodes == world.nodes else layout.nodes,
        }
    )


def read_inputs(config: RunConfig) -> Lists:
    return read_lists(
        train=config.train,
        train_root=config.train_root,
        val=config.val,
        val_root=config.val_root,
        mean=config.mean,
        nclasses=config.nclasses,
    )


def initmodel_of(config: RunConfig) -> Optional[InitModel]:
    if config.initmodel is None:
        return None
    from manifests.datasets.initmodel import read_initmodel

    return read_initmodel(config.initmodel, config.arch, config.nclasses)


def refuse_combinations(
    config: RunConfig, site: Site, world: schema.World, layout: schema.World, lists: Lists
) -> None:
    problems = check_combinations(
        config,
        limits=limit_problems(site, config.nnodetype, layout.nodes, config.walltime),
        ranks=world.ranks,
        train_samples=len(lists.train.paths),
        val_samples=len(lists.val.paths),
    )
    if problems:
        raise Trouble(problems, "change these keys; docs/configuration.md lists every key")
