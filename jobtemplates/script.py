"""Job scripts: values in, text out. Shell quoting has one entry point, the finaliser made here."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Dict, List, Optional, Sequence

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from jobtemplates.cleared import KEPT, SCRUBBED
from jobtemplates.directives import directives, joins_streams, placeholder_values, seconds_of
from jobtemplates.launcher import (
    TRAINER_COMMAND,
    Binds,
    ContainerUse,
    all_mca,
    data_binds,
    emulated_command,
    exec_tokens,
    mpirun_tokens,
)
from jobtemplates.mpi import NEXT_STEP, RANGE
from jobtemplates.schedulers import SCHEDULERS
from jobtemplates.sites import SCRATCH_PARTS, SCRATCH_VARIABLES, TEMPLATES, Site
from manifests.record.communicators import counted
from manifests.record.exit_codes import STOPPED_EXIT_CODE
from manifests.record.mounts import CPUINFO_MOUNT, DEADLINE_VARIABLE, EMULATOR_MOUNT
from manifests.record.run_files import RunFiles
from manifests.record.schema import Determinism, Manifest, Placement, World
from manifests.record.version import SCHEMA_VERSION


class Verbatim(str):
    """Text that is shell already; made in this module only."""


#: Seconds that mpirun has to end after a signal to the job: it gives its ranks one (Open MPI 4.1,
#: odls_base_sigkill_timeout), and Slurm gives the job 30 (slurm.conf, KillWait).
LAUNCHER_PATIENCE = 20


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


@dataclass(frozen=True)
class Work:
    """What the processes of one job run, and with what.

    ``processes`` are so many (its ``ranks``) on so many nodes, called ``noun``. ``data`` maps
    places in the container to what is bound there; ``report`` is the file name in the run directory
    without which they did not end well.
    """

    processes: World
    placement: Placement
    determinism: Determinism
    stack: str
    with_gpus: bool
    image: str
    image_sha256: str
    data: Dict[PurePosixPath, Path]
    command: Sequence[str]
    report: str
    tool_version: str
    noun: str = "rank"


def training_of(manifest: Manifest, files: RunFiles, placement: Optional[Placement] = None) -> Work:
    """The training that a manifest describes; ``placement`` instead of the manifest's for a job
    that goes on with other processes; then its trainer gets their number."""
    identity, circumstance = manifest.identity, manifest.circumstance
    command: List[str] = [*TRAINER_COMMAND]
    data = data_binds(circumstance.paths, circumstance.loading)
    if circumstance.emulated is not None:
        command = emulated_command(circumstance.emulated.model, command)
        data.update(
            {EMULATOR_MOUNT: Path(circumstance.emulated.program), CPUINFO_MOUNT: files.cpuinfo}
        )
    if placement is None:
        placement = circumstance.placement
    else:
        layout = placement.layout(identity.world)
        command += ["--processes", str(layout.ranks), "--nodes", str(layout.nodes)]
    processes = placement.layout(identity.world)
    return Work(
        processes=processes,
        placement=placement,
        determinism=identity.determinism,
        stack=identity.image.stack,
        with_gpus=manifest.promises.gpu is not None,
        image=circumstance.paths.image,
        image_sha256=identity.image.sha256,
        data=data,
        command=command,
        report=files.result.name,
        tool_version=circumstance.tool_version,
        noun="rank" if processes.ranks == identity.world.ranks else "process",
    )


def render_script(
    manifest: Manifest,
    files: RunFiles,
    site: Site,
    context: LaunchContext,
    placement: Optional[Placement] = None,
) -> str:
    """The whole job script of a run, or of a job of it that is placed otherwise. Raises Trouble as
    :func:`render_work`."""
    return render_work(training_of(manifest, files, placement), files, site, context)


def render_work(work: Work, files: RunFiles, site: Site, context: LaunchContext) -> str:
    """The whole job script. Pure: the same values give the same text.

    Raises Trouble for values that cannot stand on a directive line, or collide there.
    """
    placement = work.placement
    environment = work.determinism.environment
    binds = Binds(files.code, files.root, work.data)
    values: Dict[str, Any] = {
        **directive_lines(work, site),
        **launch_of(work, site, context),
        **allocation_of(work, site),
        "run_name": files.root.name,
        "run_dir": str(files.root),
        "tool_version": work.tool_version,
        "image": work.image,
        "image_sha256": work.image_sha256,
        "build": f"python bundle.py build --stack {work.stack}",
        "stdout": log_path(files, log_name(placement, "stdout")),
        "stderr": log_path(files, log_name(placement, "stderr")),
        "scratch": scratch_word(site.scratch) if site.scratch else None,
        "prefixes": Verbatim(" | ".join(f"{prefix}*" for prefix in SCRUBBED)),
        "kept": Verbatim(" | ".join(KEPT)),
        "modules": [*site.modules, *placement.modules],
        "environment": site.launch_environment,
        "walltime_seconds": seconds_of(placement.walltime) if placement.walltime else None,
        "deadline_variable": Verbatim(DEADLINE_VARIABLE),
        "stopped_exit_code": STOPPED_EXIT_CODE,
        "descriptors": descriptors_of(work.processes),
        "launcher_patience": LAUNCHER_PATIENCE,
        "singularity": exec_tokens(binds, environment, with_gpus=work.with_gpus),
        "command": list(work.command),
        "report": Verbatim(work.report),
    }
    return script_environment().get_template(site.script_template).render(values)


#: On each node, by each of its ranks, before it is looked at.
_MAKE_SCRATCH = '(umask 077 && mkdir -p -- "$TMPDIR") 2>/dev/null\n'


def scratch_word(folder: str) -> Verbatim:
    """``/scratch/$USER/$JOB_ID`` as a shell expands just these: ``'/scratch/'"$USER"…``."""
    parts = SCRATCH_PARTS.split(folder)
    return Verbatim(
        "".join(SCRATCH_VARIABLES.get(part) or shlex.quote(part) for part in parts if part)
    )


def descriptors_of(world: World) -> int:
    """Files that mpirun may have open: pipes and sockets to each rank of its node, a socket to each
    node; 30 are too few for two ranks."""
    return 64 + 16 * (world.ranks // world.nodes) + world.nodes


def launch_of(work: Work, site: Site, context: LaunchContext) -> Dict[str, Any]:
    """How mpirun and, on each node, the container program are called."""
    values = placeholder_values(site, work.placement, work.processes, with_gpus=work.with_gpus)
    cores = values["cores_per_rank"]
    mpirun, mpirun_5 = (
        mpirun_tokens(
            site.mpirun,
            work.processes,
            all_mca(site, work.determinism),
            as_root=context.as_root,
            in_user_namespace=context.use.in_user_namespace,
            cores_per_rank=int(cores) if cores and site.bind == "cores" else None,
            exported=[*site.launch_environment, *(["TMPDIR"] if site.scratch else [])],
            series=series,
        )
        for series in (4, 5)
    )
    return {
        "mpirun": mpirun,
        "mpirun_5": mpirun_5,
        "mpi_range": Verbatim(RANGE),
        "mpi_next_step": NEXT_STEP,
        "scratch_functions": Verbatim(script_part("scratch.sh")),
        "rank_script": Verbatim(_MAKE_SCRATCH * bool(site.scratch) + script_part("rank.sh")),
        "tried": "" if context.use.untried else "1",
        "program": context.use.program,
        "schema_version": SCHEMA_VERSION,
        "exec_flag": " ".join(context.use.exec_flags),
    }


def allocation_of(work: Work, site: Site) -> Dict[str, Any]:
    """What the job wants of its hosts, where the scheduler's settings may give it another thing."""
    variable, layout = site.backend.host_file, work.processes
    return {
        "nodes": layout.nodes,
        "ranks_per_node": layout.ranks // layout.nodes,
        "wanted_slots": wanted_slots(layout, work.noun),
        "host_file": Verbatim(f'"${{{variable}:-/dev/null}}"') if variable else None,
        "title": Verbatim(site.backend.title),
        "slots_next_step": site.backend.slots_next_step,
    }


def wanted_slots(layout: World, noun: str = "rank") -> str:
    """``2 hosts with 1 rank each``"""
    each = counted(layout.ranks // layout.nodes, noun)
    return f"{counted(layout.nodes, 'host')} with {each}{' each' * (layout.nodes != 1)}"


def script_part(name: str) -> str:
    """A text of ``scripts/`` that stands in every job script as it is, without its last newline."""
    return (TEMPLATES / name).read_text(encoding="utf-8").rstrip("\n")


def directive_lines(work: Work, site: Site) -> Dict[str, Any]:
    """The directive lines; they were checked, and no shell reads them."""
    if site.scheduler not in SCHEDULERS:
        return {}
    lines, _ = directives(site, work.placement, work.processes, with_gpus=work.with_gpus)
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
    named = "stdout" if joins_streams(placement.others) and not placement.stderr else stream
    return getattr(placement, named) or f"{named}.log"


def log_path(files: RunFiles, name: str) -> str:
    return str(files.logs / name)


def script_warnings(manifest: Manifest, site: Site) -> List[str]:
    others = sorted(set(manifest.circumstance.placement.others) - {"j"})
    if site.backend.runs_here and others:
        keys = ", ".join(others)
        return [f"others: site {site.name} has no scheduler: {keys} has no effect there"]
    return []
