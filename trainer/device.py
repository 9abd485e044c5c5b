"""What a rank computes on: its GPU where the run has them, else the CPU.

Loader processes exist before a GPU is touched: nothing here runs before trainer.main made them.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, ContextManager, Dict, List, Mapping, Optional

import numpy as np

from manifests.record.communicators import COMMUNICATOR_KINDS
from manifests.record.outcome import RankGpu, SeenGpus
from manifests.record.schema import GpuPromise, Manifest
from trainer.communicators.nodes import node_communicator
from trainer.gpu import facts as gpu_facts
from trainer.gpu.contract import check_apart, check_class, check_driver, device_for
from trainer.gpu.failure import gpu_failures
from trainer.gpu.gpu import Gpu, this_gpu
from trainer.gpu.settings import apply_settings
from trainer.machine import host_name
from trainer.ranks import Ranks
from trainer.trouble import TrainerError


@dataclass(frozen=True)
class Device:
    """``gpu`` is None on the CPU; else this rank's GPU is CuPy's current device already.

    ``dtype`` is what images, hence all layers, are computed in; ``seen`` are the GPUs of all ranks.
    """

    gpu: Optional[Gpu] = None
    dtype: Any = np.float32
    number: int = 0
    seen: Optional[SeenGpus] = field(default=None, compare=False)

    def put(self, array: Any) -> Any:
        """NumPy's array or CuPy's -> where this rank computes; no copy where it lies there."""
        return np.asarray(array) if self.gpu is None else self.gpu.cupy.asarray(array)

    def images(self, array: Any) -> Any:
        """The same, in the precision of the run."""
        return self.put(array).astype(self.dtype, copy=False)

    def place(self, model: Any) -> None:
        """Move a network's parameters and statistics here; their bits stay."""
        if self.gpu is not None:
            model.to_device(f"@cupy:{self.number}")

    def seen_with(self, nccl: Mapping[str, str]) -> Optional[SeenGpus]:
        return None if self.seen is None else self.seen.model_copy(update={"nccl": dict(nccl)})

    def failures(self, rank: int) -> ContextManager[None]:
        """What the GPU of this rank raises inside becomes a TrainerError that names it."""
        if self.seen is None:
            return nullcontext()
        own = self.seen.ranks[rank]
        return gpu_failures(own.rank, own.host, own.bus)


CPU = Device()

#: What layers are computed in, by the key ``precision``; parameters are float32 always.
PRECISIONS: Dict[str, Any] = {"float32": np.float32, "mixed": np.float16}


def open_device(ranks: Ranks, manifest: Manifest) -> Device:
    """Collective. A run has a GPU per rank exactly when its manifest promises for GPUs.

    Raises TrainerError when a rank has no GPU of its own and may share none, or one that cannot
    give the promise.
    """
    precision = manifest.identity.training.precision
    if manifest.promises.gpu is not None:
        shared = may_share(ranks, manifest)
        return open_gpu(ranks, manifest.promises.gpu, mixed=precision == "mixed", shared=shared)
    if precision == "mixed":
        raise TrainerError(
            "precision mixed needs GPUs and this run has none",
            "submit a new run with precision float32, or on a stack with GPUs",
        )
    return CPU


def may_share(ranks: Ranks, manifest: Manifest) -> bool:
    """Whether two ranks may work on one GPU: as asked for, and where no NCCL is used. Processes
    with several ranks each exchange theirs by NCCL, whatever the communicator."""
    kind = COMMUNICATOR_KINDS[manifest.identity.training.communicator]
    one_each = ranks.processes == ranks.size
    return manifest.circumstance.placement.share_gpus and kind.host_memory and one_each


def open_gpu(ranks: Ranks, promise: GpuPromise, *, mixed: bool, shared: bool = False) -> Device:
    host = host_name()
    driver = gpu_facts.driver_version()
    check_driver(promise, driver, host)
    settings = apply_settings(mixed=mixed)
    gpu = this_gpu()
    inside = node_communicator(ranks.mpi)
    visible = gpu_facts.visible_gpus(gpu.cupy)
    number = device_for(inside.Get_rank(), inside.Get_size(), visible, host, shared=shared)
    with gpu_failures(ranks.rank, host, str(number)):
        gpu.cupy.cuda.Device(number).use()
        own = gpu_facts.gpu_of_rank(gpu.cupy, number, ranks.rank, host)
    check_class(promise, own)
    of_processes = ranks.gather(own)
    if not shared:
        check_apart(of_processes)
    gpus: List[RankGpu] = ranks.by_rank(
        [own.model_copy(update={"rank": rank}) for rank in ranks.hosted]
    )
    seen = SeenGpus(driver=driver or "unknown", ranks=gpus, settings=settings)
    return Device(gpu, PRECISIONS["mixed" if mixed else "float32"], number, seen)
