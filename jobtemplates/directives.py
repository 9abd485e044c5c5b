"""The directives at the head of a job script: from profile, placement and the key ``others``.

No shell reads these lines, so nothing can be quoted there: what a value may hold is listed, and
anything else is refused.
"""

from __future__ import annotations

import re
from typing import Dict, List, Optional, Tuple

from container.trouble import Trouble
from jobtemplates.backend import Scheduler
from jobtemplates.placeholders import filled
from jobtemplates.schedulers import SCHEDULERS
from jobtemplates.sites import Site
from jobtemplates.slurm import warning_seconds
from manifests.record.schema import Placement, World

#: Field -> (what its value must look like, the same in words).
ALLOWED: Dict[str, Tuple[str, str]] = {
    "jobname": (r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", "letters, digits, dots, dashes, underscores"),
    "group": (r"[A-Za-z0-9_][A-Za-z0-9_.+@-]*", "letters, digits and _ . + - @, not first a dash"),
    "walltime": (r"[0-9]{1,4}:[0-5][0-9]:[0-5][0-9]", "hh:mm:ss"),
    "key": (r"-{0,2}[A-Za-z][A-Za-z0-9_-]*", "letters, digits, dashes and underscores"),
    "value": (
        r"[A-Za-z0-9 _.,:=/+@%*&|!~^()\[\]<>{}-]*",
        "letters, digits, spaces and _.,:=/+@%*&|!~^()[]<>{}-",
    ),
}  # fmt: skip

NEXT_STEP = "change these keys; docs/sites.md says what may stand on a directive line"


def directives(
    site: Site, placement: Placement, world: World, *, with_gpus: bool
) -> Tuple[List[str], List[str]]:
    """(lines for the script's head without their prefix, words for the command line).

    ``with_gpus``: whether the ranks need GPUs; where the profile has no node types one each, or one
    a node if they may share it.
    Raises Trouble with every value that cannot stand there and every entry of ``others`` that
    collides with a directive of ours.
    """
    backend = SCHEDULERS[site.scheduler]
    problems = [
        *value_problems("jobname", "jobname", placement.jobname),
        *value_problems("group", "group", placement.group or "x"),
        *value_problems("walltime", "walltime", placement.walltime or "0:00:00"),
        *others_problems(placement.others),
    ]
    if problems:
        raise Trouble(problems, NEXT_STEP)
    values = placeholder_values(site, placement, world, with_gpus=with_gpus)
    kind = site.nodetype(placement.nodetype)
    seconds = seconds_of(placement.walltime) if placement.walltime else None
    wanted = [*site.directives, *(kind.directives if kind else [])]
    ours = backend.header(placement.jobname, seconds)
    ours += [line for line in (filled(text, values) for text in wanted) if line is not None]
    theirs = {
        key: backend.directive(key.lstrip("-"), value) for key, value in placement.others.items()
    }
    problems = collisions(backend, ours, theirs)
    if problems:
        raise Trouble(problems, "leave these out of others, or write a site profile of your own")
    return [*ours, *(line for lines in theirs.values() for line in lines)], options_of(site, values)


def directives_in(script: str, prefix: str) -> List[str]:
    """The directive lines of a job script, without their prefix."""
    lines = script.splitlines()
    return [line[len(prefix) :].strip() for line in lines if line.startswith(f"{prefix} ")]


def options_of(site: Site, values: Dict[str, Optional[str]]) -> List[str]:
    """The profile's ``submit_options`` as words; each may be several."""
    lines = (filled(text, values) for text in site.submit_options)
    return [word for line in lines if line is not None for word in line.split()]


def placeholder_values(
    site: Site, placement: Placement, world: World, *, with_gpus: bool
) -> Dict[str, Optional[str]]:
    """What the placeholders of a profile stand for; None: not known or not asked for."""
    kind = site.nodetype(placement.nodetype)
    per_node = world.ranks // world.nodes
    cores = kind.cores if kind else site.cores
    wanted = 1 if placement.share_gpus else per_node
    gpus = kind.gpus if kind else wanted if with_gpus else 0
    seconds = seconds_of(placement.walltime) if placement.walltime else None
    return {
        "nodes": str(world.nodes),
        "ranks": str(world.ranks),
        "ranks_per_node": str(per_node),
        "cores": str(cores) if cores else None,
        "cores_per_rank": str(max(1, cores // per_node)) if cores else None,
        "slots": str(world.nodes * (cores or per_node)),
        "gpus": str(gpus) if gpus else None,
        "pe": site.parallel_environment,
        "group": placement.group,
        "walltime": placement.walltime,
        "warning": str(warning_seconds(seconds)),
        "jobname": placement.jobname,
    }


def value_problems(field: str, where: str, value: str) -> List[str]:
    pattern, words = ALLOWED[field]
    if re.fullmatch(pattern, value):
        return []
    return [f"{where}: {value!r} cannot stand on a directive line: expected {words}"]


def others_problems(others: Dict[str, str]) -> List[str]:
    problems: List[str] = []
    for key, value in others.items():
        wrong = value_problems("key", "others", key)
        problems += wrong or value_problems("value", f"others.{key}", value)
    return problems


def collisions(backend: Scheduler, ours: List[str], theirs: Dict[str, List[str]]) -> List[str]:
    """Every entry of ``others`` that sets what a directive of ours sets, naming both."""
    ours_by_setting = {name: line for line in ours for name in backend.settings(line)}
    problems = []
    for key, lines in theirs.items():
        for name in sorted(name for line in lines for name in backend.settings(line)):
            line = ours_by_setting.get(name)
            remedy = backend.owned.get(name)
            if line is not None:
                text = f"others.{key}: collides with bundle's own `{backend.prefix} {line}`"
                problems.append(f"{text}; {remedy}" if remedy else text)
            elif remedy is not None:
                problems.append(f"others.{key}: bundle does not pass {name} on; {remedy}")
    return problems


def joins_streams(others: Dict[str, str]) -> bool:
    """Whether standard error goes where standard output goes: the original's ``j: "y"``."""
    return others.get("j", others.get("-j", "")).lower() in ("y", "yes", "oe", "eo")


def seconds_of(walltime: str) -> int:
    """``hh:mm:ss`` -> seconds."""
    hours, minutes, seconds = (int(part) for part in walltime.split(":"))
    return 3600 * hours + 60 * minutes + seconds
