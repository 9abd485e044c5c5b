"""How the batches that loaders made get to where the network is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from trainer.feed.gpu import GpuFeed
from trainer.feed.host import Feed as Feed
from trainer.feed.host import HostFeed
from trainer.iterators.pool import Pool

if TYPE_CHECKING:
    from trainer.gpu.gpu import Gpu


def make_feed(pool: Pool, gpu: Optional[Gpu]) -> Feed:
    return HostFeed(pool) if gpu is None else GpuFeed(gpu, pool)
