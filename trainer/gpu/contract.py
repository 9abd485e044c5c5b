"""May a rank work on a GPU: is there one for it, is its driver new enough, is it of a fit class?"""

from __future__ import annotations

from typing import Sequence, Tuple

from manifests.record.driver_version import too_old
from manifests.record.outcome import RankGpu
from manifests.record.schema import GpuPromise
from trainer.trouble import CannotPromise, TrainerError

#: What ends the advice where a GPU per rank is missing.
SHARING = (
    "(runs with communicator naive or flat may also have `share_gpus: true` in their config: then "
    "ranks take turns)"
)


def device_for(
    local_rank: int, local_ranks: int, visible: int, host: str, *, shared: bool = False
) -> int:
    """CUDA's number of the GPU of a rank that is ``local_rank`` of so many on its host.

    Who sees one GPU takes it: the scheduler may show each rank its own. ``shared``: where there are
    fewer than ranks, they are taken in turn. Raises TrainerError when there are too few.
    """
    if visible == 0:
        raise TrainerError(
            f"no GPU is visible on {host}; the run was made for one per rank",
            "ask the scheduler for a GPU per rank, and start the run by its job.sh",
        )
    if visible == 1:
        return 0
    if visible < local_ranks and not shared:
        raise TrainerError(
            f"{visible} GPUs are visible on {host} for its {local_ranks} ranks",
            f"ask the scheduler for a GPU per rank on each node {SHARING}",
        )
    return local_rank % visible


def check_driver(promise: GpuPromise, found: str, host: str) -> None:
    """``found`` is "" where the driver does not tell; then CUDA's own check has to do."""
    if found and too_old(found, promise.driver):
        raise CannotPromise(
            f"the NVIDIA driver of {host} is {found}, "
            f"the run's libraries need {promise.driver} or newer",
            "run it on nodes with a newer driver, or ask the administrator of the site for one",
        )


def check_class(promise: GpuPromise, gpu: RankGpu) -> None:
    """Raises CannotPromise when the image has no code for this GPU, or when it is of none of the
    classes that the run was first made on."""
    if gpu.kind.capability not in promise.capabilities:
        raise CannotPromise(
            f"rank {gpu.rank} on {gpu.host} has a {gpu.kind.text}; the run's image has code for "
            f"compute capability {', '.join(promise.capabilities)} only",
            "ask the scheduler for other GPUs",
        )
    wanted = [kind.text for kind in promise.classes]
    if wanted and gpu.kind.text not in wanted:
        raise CannotPromise(
            f"rank {gpu.rank} on {gpu.host} has a {gpu.kind.text}; the run was made on "
            f"{' and '.join(wanted)}: on another class of GPU the bits differ",
            "run it on such GPUs, or rerun it with --other-gpu: a difference is inconclusive then",
        )


def check_apart(gpus: Sequence[RankGpu]) -> None:
    """Raises TrainerError when two ranks work on one GPU."""
    first: dict[Tuple[str, Tuple[str, str]], int] = {}
    for gpu in gpus:
        other = first.setdefault((gpu.host, gpu.apart), gpu.rank)
        if other != gpu.rank:
            raise TrainerError(
                f"ranks {other} and {gpu.rank} on {gpu.host} work on the same GPU, {gpu.bus}",
                "let the scheduler show all GPUs of a node to all its ranks (Slurm: "
                f"--gpus-per-node), and ask for one per rank {SHARING}",
            )
