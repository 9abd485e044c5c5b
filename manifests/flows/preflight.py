"""What submit, rerun, resume and doctor ask of this host before a run is planned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Callable, List, Optional, Tuple

from container.image import Image, altered, altered_trouble, image_digest, recorded_image
from container.recipe import Recipe
from container.runtime import NAMES
from container.trouble import Trouble
from jobtemplates.backend import Scheduler
from jobtemplates.launcher import ContainerUse
from jobtemplates.local import inherited
from jobtemplates.mpi import find_host_mpi, mpi_warnings
from jobtemplates.schedulers import backend_named
from jobtemplates.script import LaunchContext
from jobtemplates.sites import Site
from jobtemplates.transport import ACCOUNT_FILES, VARIABLES, names_set_in
from manifests.host.container_program import container_program
from manifests.host.context import HostContext
from manifests.host.gpus import driver_fault
from manifests.host.image_memory import ImageMemory
from manifests.host.loopback import need_loopback
from manifests.record import schema


def refuse_processor(promises: schema.Promises, host: HostContext) -> None:
    """Refuse before launch what could not give the promised bits: a processor without a feature."""
    missing = sorted(set(promises.cpu_features) - host.cpu_features)
    if missing:
        raise Trouble(
            f"this machine's processor lacks {', '.join(missing)}: "
            "the bits would not be those of other machines",
            "run on a processor of the x86-64-v3 kind (Intel Haswell, AMD Zen, or newer)",
        )


def processor_warnings(promises: schema.Promises, site: Site, host: HostContext) -> List[str]:
    """On a cluster this machine is not the one that trains: there the trainer refuses, on its node.

    Raises Trouble where it is the one.
    """
    try:
        refuse_processor(promises, host)
    except Trouble as trouble:
        if site.backend.runs_here:
            raise
        return [f"{problem}; the nodes must have better ones" for problem in trouble.problems]
    return []


def driver_warnings(
    stack: str,
    promises: schema.Promises,
    scheduler: str,
    host: HostContext,
    *,
    instead: Callable[[], str],
) -> List[str]:
    """Where this machine will train, its driver must serve the stack's CUDA.

    On a cluster it need not have one: there the trainer refuses, on its node. ``instead`` ends the
    advice. Raises Trouble.
    """
    if promises.gpu is None or not backend_named(scheduler).runs_here:
        return []
    fault = driver_fault(stack, promises.gpu.driver, host.nvidia_driver(), instead())
    if fault is not None and fault.state == "fail":
        raise Trouble(fault.found, fault.advice)
    return [] if fault is None else [fault.found]


def host_mpi_warnings(
    site: Site, placed: schema.Placement, image_version: str, host: HostContext
) -> List[str]:
    """Ask this host's mpirun; where a job loads modules, its MPI may be another one.

    Raises Trouble when it cannot serve the image.
    """
    if site.backend.runs_here:
        need_loopback(host.hostname)
    kept_back = shell_and_account(host)
    try:
        mpi = find_host_mpi(site.mpirun, inherited(host.environ))
        return [*kept_back, *mpi_warnings(mpi, image_version)]
    except Trouble as trouble:
        if not site.backend.runs_here and (site.modules or placed.modules):
            hope = "the job's modules must bring one"
            return [*kept_back, *(f"{problem}; {hope}" for problem in trouble.problems)]
        files = parameters_of_the_account(host)
        raise Trouble([*trouble.problems, *files], trouble.next_step) from trouble


def shell_and_account(host: HostContext) -> List[str]:
    """What is set for MPI beside the site's profile."""
    return [*variables_kept_back(host), *parameters_of_the_account(host)]


def variables_kept_back(host: HostContext) -> List[str]:
    """What this shell sets for MPI, and a job does not get."""
    names = sorted(name for name in host.environ if name.startswith(VARIABLES))
    if not names:
        return []
    return [
        f"{', '.join(names)}: set in this shell, not passed on to the job; where the ranks need "
        "them, set them in the site profile (mca, environment)"
    ]


def options_kept_back(site: Site, host: HostContext) -> List[str]:
    """Options of the scheduler that this shell sets, and a job does not get."""
    backend = site.backend
    if not isinstance(backend, Scheduler) or not backend.option_variables:
        return []
    found = (name for name in host.environ if name.startswith(backend.option_variables))
    names = sorted(name for name in found if name not in backend.variables)
    if not names:
        return []
    return [
        f"{', '.join(names)}: set in this shell, not passed on to {backend.commands[0]}; where "
        "jobs need them, use keys of the config (group, walltime, others)"
    ]


def parameters_of_the_account(host: HostContext) -> List[str]:
    """What files in this account's home set for mpirun, which reads them in every job."""
    warnings = []
    for name in ACCOUNT_FILES if host.home else ():
        path = Path(host.home or "", name)
        try:
            names = names_set_in(path.read_text(encoding="utf-8", errors="replace"))
        except OSError:
            continue
        if names:
            warnings.append(
                f"{path} sets {', '.join(names)}: mpirun reads it in the job, and the site profile "
                "does not know of it; move what jobs need there (mca), and the rest out of the file"
            )
    return warnings


def built_image(
    recipe: Recipe, host: HostContext, digest: Callable[[Path], str] = image_digest
) -> Image:
    """The image built from this recipe, which ``digest`` looks at.

    Raises Trouble when there is none or it was altered.
    """
    image = recorded_image(recipe, host.cache)
    if image is None:
        raise Trouble(
            f"the image of stack {recipe.stack} is not built yet",
            f"run: python bundle.py build --stack {recipe.stack}",
        )
    fault = altered(image, digest(image.path))
    if fault is not None:
        raise altered_trouble(image, fault)
    return image


def image_identity(image: Image) -> schema.ImageIdentity:
    return schema.ImageIdentity(
        stack=image.stack,
        sha256=image.sha256,
        size=image.size,
        lock_sha256=image.lock_sha256,
        recipe_sha256=image.recipe_sha256,
    )


def launch_context_of(
    site: Site, image: Path, host: HostContext, memory: Optional[ImageMemory] = None
) -> Tuple[LaunchContext, List[str]]:
    """How jobs of ``site`` run the image, with warnings; tried here, unless ``memory`` knows.

    Raises Trouble where jobs run on this host and it cannot run the image.
    """
    use, warnings = container_use(site, image, host, memory)
    return LaunchContext(use, as_root=host.as_root), warnings


def container_use(
    site: Site, image: Path, host: HostContext, memory: Optional[ImageMemory]
) -> Tuple[ContainerUse, List[str]]:
    """Where the profile says what the program is called on the nodes, or this host cannot run the
    image and jobs run on others, the nodes try for themselves."""
    # Without setuid, Apptainer puts each rank into a user namespace of its own.
    program, inside = site.container or NAMES[0], {"in_user_namespace": True}
    if site.container is not None:
        return ContainerUse(program, (), untried=True, **inside), []
    try:
        runtime = container_program(host)
        program = str(runtime.program)
        options = memory.exec_options(runtime, image) if memory else runtime.exec_options(image)
    except Trouble as trouble:
        if site.backend.runs_here:
            raise
        problem = f"{trouble.problems[0]} on this host: it is tried on the nodes"
        return ContainerUse(program, (), untried=True, **inside), [problem]
    return ContainerUse(program, options, **inside), []


def image_mpi(recipe: Recipe) -> str:
    """The upstream version of the Open MPI in the image, from the lock's Debian version."""
    files = json.loads(recipe.lock_text)["debian"]["files"]  # without models: see load_recipe
    versions = [str(file["version"]) for file in files if file["name"].startswith("libopenmpi")]
    return versions[0].rsplit("-", 1)[0] if versions else "unknown"
