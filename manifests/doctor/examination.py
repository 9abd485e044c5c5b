"""The steps of `doctor`: one thing after the other, and whether runs can rely on it here."""

from __future__ import annotations

import shutil
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, TypeVar, cast

from container.image import Image
from container.process import CommandFailed
from container.recipe import Recipe, load_recipe
from container.room import room_to_come
from container.runtime import Runtime
from container.stack import Stack, find_stack
from container.trouble import Trouble
from container.unpacked import dead_folders, size_of
from jobtemplates.local import inherited
from jobtemplates.mpi import find_host_mpi
from jobtemplates.sites import Site, load_site, profile_folders
from manifests.config.determinism import KNOBS, promises_for
from manifests.doctor import looking
from manifests.doctor.folder import (
    cache_finding,
    clock_finding,
    out_finding,
    shared_memory_finding,
    tmp_finding,
    unpacked_finding,
)
from manifests.doctor.image import image_finding
from manifests.doctor.job_check import JobOptions, examine_job
from manifests.doctor.machine import (
    cores_finding,
    limits_finding,
    memory_finding,
    processor_finding,
)
from manifests.doctor.mpi import launch_finding, mpi_finding
from manifests.doctor.packages import git_finding, packages_finding
from manifests.doctor.runtime import (
    fuse_finding,
    namespaces_finding,
    program_finding,
    start_finding,
)
from manifests.doctor.scheduler import scheduler_finding
from manifests.flows.preflight import (
    built_image,
    image_mpi,
    processor_warnings,
    shell_and_account,
)
from manifests.host import asking
from manifests.host.container_program import container_program
from manifests.host.context import HostContext
from manifests.host.emulator import emulator_finding
from manifests.host.finding import (
    Finding,
    fail,
    of_failure,
    of_trouble,
    on_other_hosts,
    warn,
)
from manifests.host.gpus import gpu_finding
from manifests.host.image_source import built_words
from manifests.rundir.known_outs import known_outs

#: Seconds that one check may take: its commands have limits of their own, a file system that hangs
#: has none.
PATIENCE = 60.0
#: Up to three programs are asked for a minute, an image is started in up to three ways of two.
PATIENCE_WITH_IMAGE = 400.0
#: How many ranks a trial of MPI has: one rank would not show that they find each other.
RANKS = 2


Found = TypeVar("Found")


@dataclass(frozen=True)
class Check:
    """``of_nodes``: it is about the hosts on which jobs run, be they this one or others."""

    name: str
    examine: Callable[[], Finding]
    patience: float = PATIENCE
    of_nodes: bool = False


def jobs_run_here(site: Site) -> bool:
    return site.backend.runs_here


class SharedLookups:
    """What several checks need, each looked for once, be it found or not.

    Every property may raise Trouble.
    """

    def __init__(self, stack: str, host: HostContext) -> None:
        self.stack, self.host = stack, host
        self._found: Dict[str, Any] = {}

    def _once(self, name: str, find: Callable[[], Found]) -> Found:
        if name not in self._found:
            try:
                self._found[name] = find()
            except Trouble as trouble:
                self._found[name] = trouble
        found = self._found[name]
        if isinstance(found, Trouble):
            raise found
        return cast(Found, found)

    @property
    def recipe(self) -> Recipe:
        return self._once("recipe", lambda: load_recipe(self.host.project, self.stack))

    @property
    def image(self) -> Image:
        return self._once("image", lambda: built_image(self.recipe, self.host))

    @property
    def runtime(self) -> Runtime:
        return self._once("runtime", lambda: container_program(self.host))

    @property
    def setuid(self) -> bool:
        """False as well where there is no runtime."""
        return self._once("setuid", lambda: not self.lacks("runtime") and self.runtime.has_setuid())

    def lacks(self, name: str) -> bool:
        """Whether there is no good property of that name; its own check says why."""
        try:
            getattr(self, name)
        except Trouble:
            return True
        return False


def checks_of(site: Site, stack: Stack, host: HostContext) -> List[Check]:
    """Every check, in the order in which one thing rests on another."""
    shared = SharedLookups(stack.stack, host)
    cache = host.cache.root
    tmp = Path(host.environ.get("TMPDIR") or tempfile.gettempdir())
    here = jobs_run_here(site)

    def processor() -> Finding:
        if stack.stack not in KNOBS:
            return warn(f"no bits are promised for stack {stack.stack}", "use a stack with a lock")
        promises = promises_for(stack.stack)
        for problem in processor_warnings(promises, site, host):
            return warn(problem, "ask for nodes of the x86-64-v3 kind (Intel Haswell, AMD Zen, …)")
        return processor_finding(looking.look_at_processor(), promises)

    def unpacked() -> Finding:
        left = dead_folders(host.environ)
        return unpacked_finding(left, sum(map(size_of, left)))

    def cache_folder() -> Finding:
        needed = room_to_come(shared.recipe.lock, host.cache) if shared.lacks("image") else 0
        return cache_finding(looking.look_at_folder(cache), needed)

    def start() -> Finding:
        lacking = [name for name in ("runtime", "image") if shared.lacks(name)]
        if lacking:
            return warn(f"not tried without a working {' and '.join(lacking)}", "see its own check")
        return start_finding(looking.look_at_start(shared.runtime, shared.image.path))

    def mpi() -> Finding:
        found = find_host_mpi(site.mpirun, inherited(host.environ))
        where = shutil.which(site.mpirun[0])
        return mpi_finding(found, where, image_mpi(shared.recipe), shell_and_account(host))

    def launch() -> Finding:
        try:
            seconds = looking.look_at_launch(site, RANKS, host.as_root, inherited(host.environ))
        except CommandFailed as error:
            return of_failure(error, f"make `{site.mpirun[0]} -np {RANKS} true` work on this host")
        return launch_finding(RANKS, seconds, host.as_root)

    return [
        Check("packages", lambda: packages_finding(looking.look_at_packages(host.project))),
        Check("git", lambda: git_finding(*looking.look_at_git(host.project))),
        Check(
            "runtime", lambda: program_finding(shared.runtime, shared.setuid), PATIENCE_WITH_IMAGE
        ),
        Check(
            "user namespaces",
            lambda: namespaces_finding(looking.look_at_namespaces(), shared.setuid),
            PATIENCE_WITH_IMAGE,
        ),
        Check("/dev/fuse", lambda: fuse_finding(looking.can_open_fuse(), shared.setuid)),
        Check("image", lambda: image_finding(shared.image), PATIENCE_WITH_IMAGE),
        Check("image start", start, PATIENCE_WITH_IMAGE),
        Check("cache", cache_folder, PATIENCE_WITH_IMAGE),
        Check("clock", lambda: clock_finding(looking.look_at_folder(cache))),
        Check(
            "out folders",
            lambda: out_finding([looking.look_at_folder(out) for out in known_outs(host.cache)]),
        ),
        Check("TMPDIR", lambda: tmp_finding(looking.look_at_scratch(tmp)), of_nodes=True),
        Check("unpacked images", unpacked),
        Check(
            "shared memory",
            lambda: shared_memory_finding(looking.look_at_folder(Path("/dev/shm")), host.cores),
            of_nodes=True,
        ),
        Check("mpirun", mpi),
        *([Check("mpirun start", launch, 90.0)] if here else []),
        Check("processor", processor, of_nodes=True),
        Check("cores", lambda: cores_finding(looking.look_at_cores()), of_nodes=True),
        Check(
            "memory", lambda: memory_finding(looking.look_at_memory(), host.cores), of_nodes=True
        ),
        Check(
            "limits",
            lambda: limits_finding(looking.look_at_limits(), several=not here),
            of_nodes=True,
        ),
        Check(
            "GPUs",
            lambda: gpu_finding(
                stack.stack,
                stack.driver,
                asking.look_at_gpus(),
                f"or take `--stack cpu`{built_words(host)}",
            ),
            of_nodes=True,
        ),
        Check("emulator", lambda: emulator_finding(host.environ)),
        Check(
            "scheduler",
            lambda: scheduler_finding(
                site.name, site.scheduler, looking.look_at_scheduler(site.scheduler)
            ),
        ),
    ]


def examine(
    site_name: str, stack_name: str, host: HostContext, *, job: Optional[JobOptions] = None
) -> Dict[str, Finding]:
    """The finding of every check by its name; with ``job`` those from inside an allocation too.

    Raises Trouble for an unknown site or stack only.
    """
    site = load_site(site_name, profile_folders(host.environ))
    stack = find_stack(host.project, stack_name)
    checks = checks_of(site, stack, host)
    findings = {}
    with host.progress.track("looking at this host", len(checks), "checks") as advance:
        for check in checks:
            finding = patiently(check)
            if check.of_nodes and not jobs_run_here(site):
                finding = on_other_hosts(finding, site.name)
            findings[check.name] = finding
            advance(1)
    if job is not None:
        host.progress.stage(f"starting a small job at site {site.name}")
        findings.update(examine_job(site, stack, host, job))
    return findings


def patiently(check: Check) -> Finding:
    """The finding of one check, whatever happens in it: it can neither hang the doctor nor end it.

    A call into a file system that hangs cannot be interrupted; its thread is left behind.
    """
    made: List[Finding] = []
    worker = threading.Thread(target=lambda: made.append(examined(check)), daemon=True)
    worker.start()
    worker.join(check.patience)
    if made:
        return made[0]
    return fail(
        f"no answer within {check.patience:g} s",
        "see whether a file system or a command hangs on this host (`df`, `mount`)",
    )


def examined(check: Check) -> Finding:
    try:
        return check.examine()
    except Trouble as trouble:
        return of_trouble(trouble)
    except CommandFailed as error:
        return of_failure(error, "make this command work on this host")
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        return fail(f"{name}{error.strerror}", "see to the file system, then try again")
    except Exception as error:
        return fail(f"internal error: {type(error).__name__}: {error}", "please report it")
