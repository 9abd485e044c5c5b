"""From loaders to the network on a GPU: every batch whole, in order, and never too early.

On a fake of CuPy whose streams do their work late or at once (fake_streams.py), in which each wait
that is left out gives wrong data; loaders, threads and the kernel's text are real.
"""

from __future__ import annotations

import gc
import importlib.util
import inspect
import re
import threading
import time
from contextlib import closing
from typing import Any, List, Optional, Tuple

import numpy as np
import pytest

from tests.trainer.fake_streams import DeviceArray, Event, FakeGpu, Stream
from tests.trainer.kernels import needs_compiler
from tests.trainer.test_iterators import sets_of
from tests.waiting import PATIENCE, wait_until
from trainer.data import Data
from trainer.inputs import Places, read_manifest, sample_sets
from trainer.iterators import ITERATORS
from trainer.iterators.pool import Pool
from trainer.order import SampleOrder
from trainer.prefetch import make_prefetcher
from trainer.sampleset import Part
from trainer.table import SampleTable
from trainer.trouble import TrainerError

#: Streams that do their work at once, where they need not wait.
SCHEDULES = [(), ("main",), ("copies",), ("main", "copies")]

Seen = List[Tuple[Any, ...]]


def open_pool(case: Any, raw: bool, kind: str = "serial", workers: int = 2) -> Pool:
    return ITERATORS[kind]("original", sets_of(case, raw=raw), workers)


def data_of(case: Any, pool: Pool, gpu: Optional[FakeGpu]) -> Data:
    return Data(
        order=SampleOrder(seed=7, samples=10, batchsize=3, ranks=1, epochs=4),
        prefetcher=make_prefetcher(pool, gpu),  # type: ignore[arg-type]
        train=SampleTable(case.files.train_table),
        val=SampleTable(case.files.val_table),
        nclasses=8,
        val_batchsize=2,
    )


def walk(
    data: Data,
    gpu: Optional[FakeGpu],
    evaluations: Tuple[int, ...] = (2, 5, 6),
    hosted: Tuple[int, ...] = (0,),
) -> Seen:
    """All batches of a training with some evaluations on the way, read at its end alone: until then
    nobody has waited for the GPU."""
    kept: Seen = []
    for step, batch in enumerate(data.training(hosted)):
        kept.append((batch.images, batch.labels, batch.slots))
        if step in evaluations:
            kept += [
                (found.images, found.labels) for _, found in data.validation(hosted, len(hosted))
            ]
    read = np.asarray if gpu is None else (lambda array: array.get())
    return [(read(images), read(labels), *rest) for images, labels, *rest in kept]


def same(found: Seen, expected: Seen) -> bool:
    def bits(seen: Seen) -> List[Any]:
        return [(a.tobytes(), a.shape, str(a.dtype), b.tobytes(), *rest) for a, b, *rest in seen]

    return bits(found) == bits(expected)


def on_the_cpu(case: Any) -> Seen:
    with closing(open_pool(case, raw=False)) as pool:
        return walk(data_of(case, pool, None), None)


def on_the_gpu(case: Any, *eager: str, kind: str = "serial") -> Seen:
    gpu = FakeGpu(eager)
    with closing(open_pool(case, raw=True, kind=kind)) as pool:
        return walk(data_of(case, pool, gpu), gpu)


@needs_compiler
@pytest.mark.parametrize("eager", SCHEDULES)
@pytest.mark.parametrize("kind", ["serial", "thread", "process"])
def test_the_gpu_gets_the_batches_of_the_cpu(make_case: Any, kind: str, eager: Any) -> None:
    case = make_case()
    expected = on_the_cpu(case)
    assert len(expected) == 14 + 3 * 3
    assert same(on_the_gpu(case, *eager, kind=kind), expected)


@needs_compiler
@pytest.mark.parametrize("eager", SCHEDULES)
def test_a_process_of_two_ranks_gets_the_batches_of_both(make_case: Any, eager: Any) -> None:
    """In turn, from one source: they use the same staging buffers. Their shares of the validation
    set differ in size."""
    case = make_case()
    with closing(open_pool(case, raw=False)) as pool:
        expected = walk(data_of(case, pool, None), None, hosted=(0, 1))
        alone = [walk(data_of(case, pool, None), None, (), (rank,)) for rank in (0, 1)]
    gpu = FakeGpu(eager)
    with closing(open_pool(case, raw=True)) as pool:
        assert same(walk(data_of(case, pool, gpu), gpu, hosted=(0, 1)), expected)
    trained = [batch for batch in expected if len(batch) == 3]
    assert same(trained, [batch for step in zip(*alone) for batch in step])


class Forgetful:
    """Leaves one wait of the feed out."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, wait: str) -> None:
        waits = Stream.wait_event

        def wait_event(stream: Stream, event: Event) -> None:
            which = "main" if stream is stream._gpu.stream else "copies"
            if which != wait:
                waits(stream, event)

        monkeypatch.setattr(Stream, "wait_event", wait_event)
        if wait == "host":
            monkeypatch.setattr(Event, "synchronize", lambda event: None)
        if wait == "first use":
            recorded = Event.record

            def record(event: Event, stream: Stream) -> None:
                if stream is not stream._gpu.stream or hasattr(event, "seen"):
                    recorded(event, stream)
                else:
                    event.seen = True  # type: ignore[attr-defined]

            monkeypatch.setattr(Event, "record", record)


@needs_compiler
@pytest.mark.parametrize("wait", ["main", "copies", "host", "first use"])
def test_every_wait_is_needed(make_case: Any, monkeypatch: pytest.MonkeyPatch, wait: str) -> None:
    case = make_case()
    expected = on_the_cpu(case)
    Forgetful(monkeypatch, wait)
    assert not all(same(on_the_gpu(case, *eager), expected) for eager in SCHEDULES)


@needs_compiler
def test_the_next_batch_is_on_its_way_while_one_is_used(make_case: Any) -> None:
    """And no more than that: one is used, one is copied, the loaders' own wait with them."""
    gpu, asked = FakeGpu(["copies"]), []

    def work() -> Any:
        for step in range(50):
            asked.append(step)
            yield Part("train", (step % 10, 3), (0, 1))

    with closing(open_pool(make_case(), raw=True, kind="thread")) as pool:
        prefetcher = make_prefetcher(pool, gpu)  # type: ignore[arg-type]
        batches = prefetcher.batches(work(), lambda part: np.zeros(2, np.int32))
        next(batches)
        wait_until(lambda: len(asked) >= pool.ahead + 2)
        time.sleep(0.1)
        assert len(asked) == pool.ahead + 2
        batches.close()  # type: ignore[attr-defined]
    assert len(gpu.used_in) == 1
    assert gpu.used_in[0].startswith("prefetch")


@needs_compiler
@pytest.mark.parametrize("kind", ["serial", "thread", "process"])
@pytest.mark.parametrize("gone", range(4))
def test_what_a_loader_raises_comes_at_its_step(make_case: Any, kind: str, gone: int) -> None:
    case = make_case()
    order = SampleOrder(seed=7, samples=10, batchsize=3, ranks=1, epochs=4)
    (case.train_root / case.train[order.batch(gone, 0)[1].sample]).unlink()
    gpu = FakeGpu()
    with closing(open_pool(case, raw=True, kind=kind)) as pool:
        batches = data_of(case, pool, gpu).training((0,))
        first = min(
            step
            for step in range(order.steps)
            if order.batch(gone, 0)[1].sample in [slot.sample for slot in order.batch(step, 0)]
        )
        for _ in range(first):
            next(batches)
        with pytest.raises(TrainerError, match="cannot be read: No such file or directory"):
            next(batches)


@needs_compiler
@pytest.mark.parametrize("kind", ["serial", "thread", "process"])
def test_stopping_early_hangs_nowhere(make_case: Any, kind: str) -> None:
    begun, before = time.monotonic(), set(threading.enumerate())
    pool = open_pool(make_case(), raw=True, kind=kind)
    data = data_of(make_case("other"), pool, FakeGpu())
    batches = data.training((0,))
    next(batches)
    del batches
    assert len(list(data.validation((0,), 1))) == 3
    batches = data.training((0,))
    next(batches)
    pool.close()
    del data, batches

    def threads() -> List[Any]:
        gc.collect()
        return [t for t in {*threading.enumerate()} - before if t.name.startswith("feed")]

    wait_until(lambda: not threads())
    assert time.monotonic() - begun < PATIENCE


def test_no_samples_need_no_gpu(make_case: Any) -> None:
    """A rank may have no share of the validation set."""
    with closing(open_pool(make_case(), raw=True)) as pool:
        assert list(data_of(make_case("other"), pool, FakeGpu()).validation((5,), 6)) == []


@pytest.mark.gpu
def test_a_gpu_gets_the_batches_of_the_cpu(make_case: Any) -> None:
    """With work between the batches that keeps the GPU busy, so that copies come before their
    turn."""
    import cupy

    from trainer.gpu.gpu import Gpu

    case = make_case()
    expected = on_the_cpu(case)
    with closing(open_pool(case, raw=True, kind="process")) as pool:
        data = data_of(case, pool, Gpu(cupy, None))  # type: ignore[arg-type]
        kept: Seen = []
        big = cupy.ones((2048, 2048), cupy.float32)
        for step, batch in enumerate(data.training((0,))):
            for _ in range(5):
                big = big @ big * cupy.float32(1e-4)
            kept.append((batch.images, batch.labels, batch.slots))
            if step in (2, 5, 6):
                kept += [(some.images, some.labels) for _, some in data.validation((0,), 1)]
        seen = [(a.get(), b.get(), *rest) for a, b, *rest in kept]
    assert same(seen, expected)


@pytest.mark.parametrize("gpu", [None, {"driver": "525.60.13", "capabilities": ["7.0"]}])
def test_loaders_deliver_bytes_where_a_run_has_gpus(make_case: Any, gpu: Any) -> None:
    case = make_case()
    case.manifest["promises"]["gpu"] = gpu
    case.seal()
    sets = sample_sets(case.files, read_manifest(case.files), Places())
    dtypes = {name: samples.dtype for name, samples in sets.items()}
    expected = np.dtype(np.float32 if gpu is None else np.uint8)
    assert dtypes == {"train": expected, "val": expected}


@pytest.mark.skipif(importlib.util.find_spec("cupy") is None, reason="CuPy is not installed here")
def test_the_fake_has_the_form_of_cupy() -> None:
    """Names of arguments; needs no GPU."""
    import cupy

    def said(thing: Any) -> str:
        return " ".join((thing.__doc__ or "").split())

    # Of a class CuPy describes the arguments of its constructor.
    assert all(f" {name} (bool)" in said(cupy.cuda.Event) for name in ("block", "disable_timing"))
    assert "``non_blocking``" in said(cupy.cuda.Stream) or "non_blocking (" in said(
        cupy.cuda.Stream
    )
    for thing, ours, names in (
        (cupy.cuda.Event.record, Event.record, "stream"),
        (cupy.cuda.Event.synchronize, Event.synchronize, ""),
        (cupy.cuda.Stream.wait_event, Stream.wait_event, "event"),
        (cupy.ndarray.set, DeviceArray.set, "arr stream"),
    ):
        signature = said(thing).partition(")")[0]
        assert list(inspect.signature(ours).parameters)[1:] == names.split()
        assert all(re.search(rf"\b{name}\b", signature) for name in names.split()), signature
    assert "unicode code, unicode name" in said(cupy.RawKernel)
    for name in ("asarray", "empty", "cuda.Device.use", "cuda.alloc_pinned_memory"):
        assert callable(eval(f"cupy.{name}", {"cupy": cupy})), name
