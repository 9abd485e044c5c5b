"""What starts the ranks, as token lists: ``mpirun …``, and what a container gets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Dict, List, Optional, Sequence, Tuple

from container.trouble import Trouble
from jobtemplates.sites import Site
from manifests.record.mounts import (
    CODE_MOUNT,
    EMULATOR_MOUNT,
    RUN_MOUNT,
    TRAIN_MOUNT,
    TRAIN_PACK_MOUNT,
    VAL_MOUNT,
    VAL_PACK_MOUNT,
)
from manifests.record.schema import Determinism, Loading, Paths, World

TRAINER_COMMAND = ("python3", "-m", "trainer")

#: An emulator is given a file; it does not look along PATH.
IMAGE_PYTHON = "/usr/bin/python3"

#: Options and parameters of Open MPI 4 that Open MPI 5 has no more; it would refuse or complain.
ONLY_4 = ("--quiet", "-q", "-quiet", "plm")

#: What holds in every container. The host's Open MPI may need to be told where it lies; the image's
#: would look for its parts there. An empty value counts as none (Open MPI 4.1,
#: opal/mca/installdirs/env).
INSIDE = {
    "OPAL_PREFIX": "",
    "PMIX_INSTALL_PREFIX": "",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONNOUSERSITE": "1",
    "PYTHONPATH": "",
}


@dataclass(frozen=True)
class ContainerUse:
    """How an image is run: the program, and the flags that ``exec`` needs.

    ``untried``: it was not tried on this host, so each node has to find out.
    """

    program: str
    exec_flags: Tuple[str, ...]
    in_user_namespace: bool
    untried: bool = False


@dataclass(frozen=True)
class Binds:
    """What the container sees of the host; ``data`` maps a place inside to a folder or a file."""

    code: Path
    run: Path
    data: Dict[PurePosixPath, Path]


def data_binds(paths: Paths, loading: Loading) -> Dict[PurePosixPath, Path]:
    """Where the trainer finds its samples: in the folders of images, or in the packed files."""
    if loading.loadtype == "original":
        return {TRAIN_MOUNT: Path(paths.train_root), VAL_MOUNT: Path(paths.val_root)}
    packs = {TRAIN_PACK_MOUNT: paths.train_pack, VAL_PACK_MOUNT: paths.val_pack}
    return {mount: Path(pack) for mount, pack in packs.items() if pack is not None}


def bind(source: Path, destination: str, *, writable: bool) -> List[str]:
    """One ``--mount``: its value is a CSV record, so quotes, commas and colons in paths are safe.

    Raises Trouble for a path with a line break, which no launcher passes on unharmed.
    """
    text = str(source)
    if "\n" in text or "\r" in text:
        raise Trouble(f"{text!r}: a path with a line break cannot be bound", "rename it")
    quoted = text.replace('"', '""')
    access = [] if writable else ["ro"]
    fields = ["type=bind", f'"source={quoted}"', f"destination={destination}", *access]
    return ["--mount", ",".join(fields)]


def mpirun_tokens(
    mpirun: Sequence[str],
    world: World,
    mca: Dict[str, str],
    *,
    as_root: bool,
    in_user_namespace: bool,
    cores_per_rank: Optional[int] = None,
    exported: Sequence[str] = (),
    series: int = 4,
) -> List[str]:
    """``mpirun`` of Open MPI 4 or, with ``series`` 5, of Open MPI 5, which lacks some options.

    ``as_root`` and ``in_user_namespace`` add to the parameters what Open MPI wants then.

    With ``cores_per_rank`` each rank, with its loaders, is bound to so many cores of its own.
    ``exported`` names variables that ranks on other nodes are to get too.
    """
    parameters = dict(mca)
    if in_user_namespace:
        # Ranks in separate user namespaces may not read each other's memory (process_vm_readv).
        parameters.setdefault("btl_vader_single_copy_mechanism", "none")
    if series == 5:
        mpirun = [word for word in mpirun if word not in ONLY_4]
        parameters = {key: value for key, value in parameters.items() if key not in ONLY_4}
    tokens = [*mpirun, "-np", str(world.ranks)]
    if world.nodes > 1 or cores_per_rank:
        cores = f":PE={cores_per_rank}" if cores_per_rank else ""
        tokens += ["--map-by", f"ppr:{world.ranks // world.nodes}:node{cores}"]
    if world.nodes > 1:
        tokens += [word for name in sorted(exported) for word in ("-x", name)]
    if as_root:
        tokens.append("--allow-run-as-root")
    for name, value in sorted(parameters.items()):
        tokens += ["--mca", name, value]
    return tokens


def emulated_command(model: str, command: Sequence[str]) -> List[str]:
    """A command of the image's Python, on a processor ``model`` of QEMU's user mode emulation.

    ``check=off``: QEMU does not warn of parts of the model that no program of a user can see.
    """
    return [str(EMULATOR_MOUNT), "-cpu", f"{model},check=off", IMAGE_PYTHON, *command[1:]]


def exec_tokens(binds: Binds, environment: Dict[str, str], *, with_gpus: bool = False) -> List[str]:
    """What follows ``singularity exec`` up to the image: binds, and what decides the bits.

    Every rank sees all GPUs of its node: ChainerMN takes one by the rank's number on the node.
    Never ``--cleanenv``: it strips PMIx's variables and every rank becomes rank 0 of 1.
    """
    tokens = [
        *(["--nv"] if with_gpus else []),
        "--no-home",
        "--pwd",
        str(CODE_MOUNT),
    ]
    tokens += bind(binds.code, str(CODE_MOUNT), writable=False)
    tokens += bind(binds.run, str(RUN_MOUNT), writable=True)
    for mount, source in binds.data.items():
        tokens += bind(source, str(mount), writable=False)
    for name, value in sorted({**INSIDE, **environment}.items()):
        tokens += ["--env", f"{name}={value}"]
    return tokens


def all_mca(site: Site, determinism: Determinism) -> Dict[str, str]:
    """The manifest's parameters win over the site's: they decide the bits."""
    return {**site.launch_mca, **determinism.mca}
