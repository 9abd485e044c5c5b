"""Job scripts: values in, text out. Shell quoting has one door, the finaliser made here."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from jobtemplates.cleared import KEPT, SCRUBBED
from jobtemplates.directives import directives, joined, seconds_of, values_of
from jobtemplates.launcher import (
    TRAINER_COMMAND,
    Binds,
    ContainerUse,
    all_mca,
    data_binds,
    exec_tokens,
    mpirun_tokens,
)
from jobtemplates.schedulers import SCHEDULERS
from jobtemplates.sites import TEMPLATES, Site
from manifests.record.outcome import STOPPED_EXIT_CODE
from manifests.record.schema import DEADLINE_VARIABLE, Manifest, Placement, RunFiles, World


class Verbatim(str):
    """Text that is shell already; made in this module only."""


def quoted(value: Any) -> str:
    """What a template's expression becomes: a string is one shell word, a list its words."""
    if isinstance(value, Verbatim):
        return str(value)
    if isinstance(value, (list, tuple)):
        return shlex.join(str(item) for item in value)
    return shlex.quote(str(value))


def with_job_id(name: str) -> Verbatim:
    """A file name in which ``$JOB_ID`` stays a shell variable and all else is quoted."""
    parts = [shlex.quote(part) if part else "" for part in name.split("$JOB_ID")]
    return Verbatim('"$JOB_ID"'.join(parts))


def one_option_a_line(tokens: List[str]) -> Verbatim:
    """A command that a person can read: a line break before each option."""
    lines: List[List[str]] = [[]]
    for token in tokens:
        if token.startswith("-") and lines[-1]:
            lines.append([])
        lines[-1].append(token)
    return Verbatim(" \\\n    ".join(shlex.join(line) for line in lines))


def script_environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        finalize=quoted,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters["job_id"] = with_job_id
    environment.filters["options"] = one_option_a_line
    return environment


@dataclass(frozen=True)
class LaunchContext:
    """What the script must know of the host that will run it."""

    use: ContainerUse
    as_root: bool


def render_script(manifest: Manifest, files: RunFiles, site: Site, context: LaunchContext) -> str:
    """The whole job script of a run. Pure: the same values give the same text.

    Raises Trouble for values that cannot stand on a directive line, or collide there.
    """
    identity, circumstance = manifest.identity, manifest.circumstance
    placement, paths = circumstance.placement, circumstance.paths
    world = World(ranks=identity.world.ranks, nodes=placement.nodes or identity.world.nodes)
    with_gpus = manifest.promises.gpu is not None
    cores = values_of(site, placement, world, with_gpus=with_gpus)["cores_per_rank"]
    mpirun = mpirun_tokens(
        site.mpirun,
        world,
        all_mca(site.mca, identity.determinism),
        as_root=context.as_root,
        in_user_namespace=context.use.in_user_namespace,
        cores_per_rank=int(cores) if cores and site.bind == "cores" else None,
        exported=list(site.environment),
    )
    binds = Binds(files.code, files.root, data_binds(paths, circumstance.loading))
    environment = identity.determinism.environment
    values: Dict[str, Any] = {
        **head_of(manifest, site, world),
        "run_name": files.root.name,
        "run_dir": str(files.root),
        "tool_version": circumstance.tool_version,
        "image": paths.image,
        "image_sha256": identity.image.sha256,
        "build": f"python bundle.py build --stack {identity.image.stack}",
        "stdout": log_path(files, log_name(placement, "stdout")),
        "stderr": log_path(files, log_name(placement, "stderr")),
        "prefixes": Verbatim(" | ".join(f"{prefix}*" for prefix in SCRUBBED)),
        "kept": Verbatim(" | ".join(KEPT)),
        "modules": [*site.modules, *placement.modules],
        "environment": site.environment,
        "walltime_seconds": seconds_of(placement.walltime) if placement.walltime else None,
        "deadline_variable": Verbatim(DEADLINE_VARIABLE),
        "stopped_exit_code": STOPPED_EXIT_CODE,
        "descriptors": descriptors_of(world),
        "mpirun": mpirun,
        "singularity": exec_tokens(context.use, binds, environment, with_gpus=with_gpus),
        "command": list(TRAINER_COMMAND),
    }
    return script_environment().get_template(site.script_template).render(values)


def descriptors_of(world: World) -> int:
    """Files that mpirun may have open: pipes and sockets to each rank of its node, a socket to each
    node; 30 are too few for two ranks."""
    return 64 + 16 * (world.ranks // world.nodes) + world.nodes


def head_of(manifest: Manifest, site: Site, world: World) -> Dict[str, Any]:
    """The directive lines; they were checked, and no shell reads them."""
    if site.scheduler not in SCHEDULERS:
        return {}
    placement = manifest.circumstance.placement
    lines, _ = directives(site, placement, world, with_gpus=manifest.promises.gpu is not None)
    return {
        "prefix": Verbatim(SCHEDULERS[site.scheduler].prefix),
        "directives": [Verbatim(line) for line in lines],
    }


def run_of_script(script: str) -> Optional[Path]:
    """The run directory that a rendered script works in; None where it names none."""
    for line in script.splitlines():
        if line.startswith("run="):
            return Path(*shlex.split(line[len("run=") :]))
    return None


def log_name(placement: Placement, stream: str) -> str:
    """The file name of ``stdout`` or ``stderr`` in the run's ``logs/``, with ``$JOB_ID``."""
    named = "stdout" if joined(placement.others) and not placement.stderr else stream
    return getattr(placement, named) or f"{named}.log"


def log_path(files: RunFiles, name: str) -> str:
    return str(files.logs / name)


def script_warnings(manifest: Manifest, site: Site) -> List[str]:
    others = sorted(set(manifest.circumstance.placement.others) - {"j"})
    if site.backend.runs_here and others:
        keys = ", ".join(others)
        return [f"others: site {site.name} has no scheduler: {keys} has no effect there"]
    return []
