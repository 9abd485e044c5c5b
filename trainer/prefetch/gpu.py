"""Batches for a network on a GPU: while one is used, the next is copied there."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import chain, count
from typing import TYPE_CHECKING, Any, Dict, Iterable, Iterator, NamedTuple, Optional, Tuple

from trainer.augment import choose_views
from trainer.iterators.pool import Pool
from trainer.loadtypes.views import mean_of, side_of
from trainer.prefetch.host import Fed, LabelsOf, loaded
from trainer.prefetch.normalization import Normalization
from trainer.prefetch.staging_buffer import StagingBuffer, StagingLayout
from trainer.sampleset import Part

if TYPE_CHECKING:
    from trainer.gpu.gpu import Gpu


class _Arrived(NamedTuple):
    """A batch that is on its way into a buffer's ``device``."""

    part: Part
    layout: StagingLayout


class GpuPrefetcher:
    """Loaders' pool -> batches on the GPU that is CuPy's current device.

    A thread of its own takes each batch from the loaders, copies it into page-locked memory and
    starts its way to the GPU, on a stream of its own. The mean is subtracted on the stream of the
    network when the batch is used. All that is asked of the pool is asked by that one thread.
    """

    def __init__(self, gpu: Gpu, pool: Pool) -> None:
        assert all(samples.raw for samples in pool.described.values())
        self._gpu = gpu
        self._pool = pool
        self._copies = gpu.cupy.cuda.Stream(non_blocking=True)
        self._normalizations = self._one_for_each_mean()
        self._buffers: Dict[Tuple[str, int], Tuple[StagingBuffer, StagingBuffer]] = {}
        # The current device is a thread's own.
        use = gpu.cupy.cuda.Device().use
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="prefetch", initializer=use)

    def batches(self, work: Iterable[Part], labels_of: LabelsOf) -> Iterator[Fed]:
        """Yield what ``work`` asks for, in its order; no part has more samples than the first.

        What loading a batch raised is raised when it is the turn of that batch.
        """
        parts = iter(work)
        first = next(parts, None)
        if first is None:
            return
        buffers = self._buffers_for(first)
        source = loaded(self._pool, chain([first], parts))
        coming = self._thread.submit(self._send, source, labels_of, buffers[0])
        try:
            for number in count(1):
                arrived = coming.result()
                if arrived is None:
                    return
                images, labels = self._take(arrived, buffers[(number - 1) % 2])
                # Only now: `used` of the other buffer is that of the batch before.
                coming = self._thread.submit(self._send, source, labels_of, buffers[number % 2])
                yield arrived.part, images, labels
        finally:
            coming.cancel()

    def _one_for_each_mean(self) -> Dict[str, Normalization]:
        """By the name of the set; sets with the same mean image share it."""
        made: Dict[Any, Normalization] = {}
        for samples in self._pool.described.values():
            key = samples.mean, side_of(samples)
            if key not in made:
                made[key] = Normalization(self._gpu, mean_of(samples))
        return {
            name: made[samples.mean, side_of(samples)]
            for name, samples in self._pool.described.items()
        }

    def _buffers_for(self, largest: Part) -> Tuple[StagingBuffer, StagingBuffer]:
        """The two of a set: training goes on with its own after an evaluation."""
        size = StagingLayout(
            len(largest.indices), self._pool.described[largest.set_name].insize
        ).size
        key = largest.set_name, size
        if key not in self._buffers:
            self._buffers[key] = StagingBuffer(self._gpu, size), StagingBuffer(self._gpu, size)
        return self._buffers[key]

    def _send(
        self, source: Iterator[Tuple[Part, Any]], labels_of: LabelsOf, buffer: StagingBuffer
    ) -> Optional[_Arrived]:
        """In the thread. None when ``source`` has no more."""
        found = next(source, None)
        if found is None:
            return None
        part, images = found
        samples = self._pool.described[part.set_name]
        layout = StagingLayout(len(images), samples.insize)
        buffer.copied.synchronize()
        layout.pixels(buffer.host)[...] = images
        layout.views(buffer.host)[...] = choose_views(
            side_of(samples), samples.insize, samples.seed, part.indices, part.epochs
        )
        layout.labels(buffer.host)[...] = labels_of(part)
        self._copies.wait_event(buffer.used)
        buffer.device[: layout.size].set(buffer.host[: layout.size], stream=self._copies)
        buffer.copied.record(self._copies)
        return _Arrived(part, layout)

    def _take(self, arrived: _Arrived, buffer: StagingBuffer) -> Tuple[Any, Any]:
        """Images and labels, in memory that no other batch will be copied into."""
        stream, layout = self._gpu.stream, arrived.layout
        stream.wait_event(buffer.copied)
        normalize = self._normalizations[arrived.part.set_name]
        images = normalize(layout.pixels(buffer.device), layout.views(buffer.device))
        labels = layout.labels(buffer.device).copy()
        buffer.used.record(stream)
        return images, labels
