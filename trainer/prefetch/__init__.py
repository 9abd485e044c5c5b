"""How the batches that loaders made get to where the network is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from trainer.iterators.pool import Pool
from trainer.prefetch.gpu import GpuPrefetcher
from trainer.prefetch.host import HostPrefetcher
from trainer.prefetch.host import Prefetcher as Prefetcher

if TYPE_CHECKING:
    from trainer.gpu.gpu import Gpu


def make_prefetcher(pool: Pool, gpu: Optional[Gpu]) -> Prefetcher:
    return HostPrefetcher(pool) if gpu is None else GpuPrefetcher(gpu, pool)
