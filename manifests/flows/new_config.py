"""The text of a new config: a recipe, laid out on the nodes of a site"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Tuple

from container.nearest import nearest
from container.stack_names import DEFAULT_STACK, locked_stacks
from container.trouble import Trouble
from jobtemplates.site_guess import guessed_site
from jobtemplates.sites import NodeType, Site, load_site, profile_folders
from manifests.config.config_template import as_lines, config_text
from manifests.config.determinism import has_gpus
from manifests.config.recipes import RECIPES, Published
from manifests.host.asking import look_at_gpus
from manifests.host.context import HostContext
from manifests.record.communicators import counted


@dataclass(frozen=True)
class NewConfig:
    """``notes`` say what was guessed."""

    text: str
    notes: List[str]


def new_config(
    host: HostContext,
    *,
    site: Optional[str],
    stack: Optional[str],
    recipe: Optional[str],
    name: str,
) -> NewConfig:
    """``name`` is the default job name. What is None is guessed from this host.

    Raises Trouble for a site, stack or recipe that is not known.
    """
    published = _recipe(recipe)
    notes: List[str] = []
    if site is None:
        site = guessed_site(host.environ)
        notes.append(f"site: {site}, by the commands on PATH (others: --site)")
    profile = load_site(site, profile_folders(host.environ))
    if stack is None:
        stack = _guessed_stack(profile, host)
        why = "the default" if stack == DEFAULT_STACK else "as this host has no NVIDIA driver"
        notes.append(f"stack: {stack}, {why} (others: --stack)")
    elif stack not in locked_stacks(host.project):
        known = locked_stacks(host.project)
        raise Trouble(
            f"--stack: there is no stack {stack!r}{nearest(stack, known)}",
            f"known stacks: {', '.join(known)}",
        )
    chosen: Dict[str, Any] = {"stack": stack, "site": site}
    chosen.update(published.values if published else {})
    remarks = _lay_out(chosen, profile, published, host)
    return NewConfig(config_text(chosen, _head(published, remarks), name), notes)


def _recipe(name: Optional[str]) -> Optional[Published]:
    if name is None:
        return None
    if name not in RECIPES:
        raise Trouble(
            f"--recipe: there is no recipe {name!r}{nearest(name, list(RECIPES))}",
            f"known recipes: {', '.join(RECIPES)}",
        )
    return RECIPES[name]


def _guessed_stack(site: Site, host: HostContext) -> str:
    """Where jobs run on this host and it has no driver, the stack that needs none."""
    here = site.backend.runs_here and host.nvidia_driver().version is None
    return "cpu" if here else DEFAULT_STACK


def _head(published: Optional[Published], remarks: List[str]) -> List[str]:
    if published is None:
        return ["A new config. Name your lists and the mean image below (docs/data.md makes them)."]
    parts = [("From:", published.sources), ("What differs:", [*published.differs, *remarks])]
    lines = [published.title]
    for title, texts in parts:
        lines += ["", title, *as_lines(texts)] if texts else []
    return lines


# --- nodes ----------------------------------------------------------------------------------


def _lay_out(
    chosen: Dict[str, Any], site: Site, published: Optional[Published], host: HostContext
) -> List[str]:
    """Add the keys that place the ranks on the site, and those that its stack needs; return what
    differs by that from what was published."""
    name, kind = _kind(site, published.ranks if published else 1)
    gpus = has_gpus(chosen["stack"])
    most = kind.ranks if kind else _most_ranks(site, gpus=gpus)
    ranks = published.ranks if published else most or 1
    most = most or (published.per_node if published else 1)
    limit = (kind.max_nodes if kind else None) or site.max_nodes or ranks
    nodes = next(n for n in range(-(-ranks // most), ranks + 1) if ranks % n == 0)
    remarks = []
    if nodes > limit:
        nodes = _most_equal(ranks, limit)
        processes = nodes * _most_equal(ranks // nodes, most)
        chosen["processes"] = processes
        longer = ranks // processes
        remarks.append(
            f"The {ranks} ranks are computed by {counted(processes, 'process')} on "
            f"{counted(nodes, 'node')}, with the same bits: a step takes up to {longer} times as "
            "long"
        )
    chosen.update({} if name is None else {"nnodetype": name})
    chosen.update(nnodes=nodes, ranks_per_node=ranks // nodes)
    wanted = chosen.get("communicator")
    if wanted and (not gpus or "processes" in chosen):
        chosen["communicator"] = "ordered"
        remarks.append(
            f"Gradients are added by ordered, not by {wanted}, which needs a GPU for each rank"
        )
    return remarks


def _most_equal(count: int, at_most: int) -> int:
    """The largest number of equal shares."""
    return next(n for n in range(min(count, at_most), 0, -1) if count % n == 0)


def _kind(site: Site, ranks: int) -> Tuple[Optional[str], Optional[NodeType]]:
    """The smallest node type that takes all ranks, else the largest; None where there are none."""
    kinds = sorted(site.nodetypes.items(), key=lambda item: (item[1].ranks, item[1].cores))
    fitting = [item for item in kinds if item[1].ranks >= ranks]
    found = fitting or kinds[-1:]
    return found[0] if found else (None, None)


def _most_ranks(site: Site, *, gpus: bool) -> Optional[int]:
    """Ranks of a node of a site without node types; None where its profile does not say.

    On this host one for each GPU.
    """
    if site.backend.runs_here:
        return max(1, len(look_at_gpus().names)) if gpus else 1
    return site.ranks_per_node if "ranks_per_node" in site.model_fields_set else None
