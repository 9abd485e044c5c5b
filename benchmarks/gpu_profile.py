"""Where a training step spends its time: on the GPU by Chainer's functions, on the host by Python's

python -m benchmarks.gpu_profile [--arch ARCH] [--precision PRECISION] [--batch N] [--free]

One GPU, the same batch each time. Before the step that is looked at, the GPU gets work for longer
than the host needs to put a whole step into the stream: so times between events are those of the
GPU alone.
"""

from __future__ import annotations

import argparse
import cProfile
import io
import os
import pstats
import sys
import time
from collections import defaultdict
from typing import Any, Callable, DefaultDict, Dict, List, NamedTuple, Sequence, Tuple

from benchmarks.gpu import PRECISIONS, at_least, environment_of
from benchmarks.gpu_contest import BUNDLE, Contest, contest_of
from manifests.record.keys import INPUT_SIDE

#: Of matrix products that keep the GPU busy; 30 take some 0.7 s on an H100.
SIDE, PRODUCTS = 8192, 30
ROWS = 25


class Span(NamedTuple):
    """A call of one function; ``parent`` is the number of the call that it lies in, or -1."""

    label: str
    parent: int
    begin: Any
    end: Any


class Recorder:
    """Calls as they begin and end; ``now`` marks a moment, in a stream or on a clock."""

    def __init__(self, now: Callable[[], Any]) -> None:
        self._now = now
        self._open: List[int] = []
        self._calls: List[Tuple[str, int, Any]] = []
        self._ends: Dict[int, Any] = {}

    def begin(self, label: str) -> None:
        self._calls.append((label, self._open[-1] if self._open else -1, self._now()))
        self._open.append(len(self._calls) - 1)

    def end(self) -> None:
        self._ends[self._open.pop()] = self._now()

    def spans(self) -> List[Span]:
        return [Span(*call, self._ends[number]) for number, call in enumerate(self._calls)]


class Row(NamedTuple):
    label: str
    calls: int
    milliseconds: float


def own_times(spans: List[Span], between: Callable[[Any, Any], float]) -> List[Row]:
    """By label, the longest first: time in the function itself, not in those it calls."""
    calls: DefaultDict[str, int] = defaultdict(int)
    own: DefaultDict[str, float] = defaultdict(float)
    for span in spans:
        took = between(span.begin, span.end)
        calls[span.label] += 1
        own[span.label] += took
        if span.parent >= 0:
            own[spans[span.parent].label] -= took
    rows = [Row(label, calls[label], own[label]) for label in own]
    return sorted(rows, key=lambda row: -row.milliseconds)


def hook_of(recorder: Recorder) -> Any:
    """Chainer's hook that records each function; inside `backward` functions are called too."""
    import chainer

    class Hook(chainer.FunctionHook):
        name = "benchmarks.gpu_profile"

        def forward_preprocess(self, function: Any, in_data: Any) -> None:
            recorder.begin(function.label)

        def forward_postprocess(self, function: Any, in_data: Any) -> None:
            recorder.end()

        def backward_preprocess(self, function: Any, in_data: Any, out_grad: Any) -> None:
            recorder.begin(f"{function.label}, backward")

        def backward_postprocess(self, function: Any, in_data: Any, out_grad: Any) -> None:
            recorder.end()

    return Hook()


def keep_busy(device: Any) -> None:
    if device.gpu is None:
        return
    cupy = device.gpu.cupy
    square = cupy.ones((SIDE, SIDE), cupy.float32)
    out = cupy.empty_like(square)
    for _ in range(PRODUCTS):
        cupy.matmul(square, square, out=out)


def clock(device: Any) -> Tuple[Callable[[], Any], Callable[[Any, Any], float]]:
    """A moment, and milliseconds between two."""
    if device.gpu is None:
        return time.perf_counter, lambda begin, end: 1000 * (end - begin)
    cuda = device.gpu.cupy.cuda

    def now() -> Any:
        event = cuda.Event()
        event.record()
        return event

    return now, lambda begin, end: float(cuda.get_elapsed_time(begin, end))


def report(contest: Contest) -> str:
    from benchmarks.gpu_work import open_device, prepare, synthetic
    from trainer.ranks import join

    world = join(contest.ranks)
    device = open_device(world, contest)
    step = prepare(contest, world, device, synthetic(contest, device))
    for _ in range(contest.warmup):
        step()
    begun = time.perf_counter()
    for _ in range(contest.steps):
        step()
    whole = 1000 * (time.perf_counter() - begun) / contest.steps
    now, between = clock(device)
    recorder, host = Recorder(now), Recorder(time.perf_counter)
    with hook_of(host):
        keep_busy(device)
        step()
    keep_busy(device)
    with hook_of(recorder):
        step()
    if device.gpu is not None:
        device.gpu.cupy.cuda.Device().synchronize()
    profile = cProfile.Profile()
    profile.runcall(step)
    said = io.StringIO()
    pstats.Stats(profile, stream=said).sort_stats("tottime").print_stats(ROWS)
    return text(contest, whole, host.spans(), recorder.spans(), between) + said.getvalue()


def text(
    contest: Contest,
    whole: float,
    host: List[Span],
    spans: List[Span],
    between: Callable[[Any, Any], float],
) -> str:
    """``host``: the spans of a step by the clock of the host, while the GPU was busy."""
    enqueued = 1000 * (max(span.end for span in host) - host[0].begin)
    last = next(span for span in reversed(spans) if span.parent < 0)
    lines = [
        f"{contest.arch} {contest.precision}, batch {contest.batch}, "
        f"{'deterministic' if contest.deterministic else 'free'}",
        f"{whole:.2f} ms a step; its forward and backward pass: {enqueued:.2f} ms until the host "
        f"has asked for all, {between(spans[0].begin, last.end):.2f} ms of the GPU",
        "",
        "     ms  calls  function",
    ]
    rows = own_times(spans, between)
    lines += [f"{row.milliseconds:7.3f} {row.calls:6}  {row.label}" for row in rows]
    return "\n".join(lines) + "\n"


def parse(argv: Sequence[str]) -> Contest:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu_profile", description=(__doc__ or "").partition("\n\n")[0]
    )
    add = parser.add_argument
    add("--arch", choices=sorted(INPUT_SIDE), default="resnet50")
    add("--precision", choices=PRECISIONS, default="mixed")
    add("--batch", type=at_least(1), default=64, help="images of a step (64)")
    add("--steps", type=at_least(1), default=10, help="steps that are timed as a whole (10)")
    add("--warmup", type=at_least(0), default=5, help="steps before them (5)")
    add("--free", action="store_true", help="without the settings for determinism")
    add("--on-the-cpu", action="store_true", help="try the script without a GPU")
    given = parser.parse_args(argv)
    return Contest(
        who=BUNDLE,
        arch=given.arch,
        precision=given.precision,
        data="synthetic",
        deterministic=not given.free,
        gpus=0 if given.on_the_cpu else 1,
        batch=given.batch,
        warmup=given.warmup,
        steps=given.steps,
        rounds=1,
        workers=1,
        folder="",
    )


def main(argv: Sequence[str]) -> None:
    if argv[:1] and argv[0].startswith("{"):
        print(report(contest_of(argv[0])))
        return
    contest = parse(argv)
    # Libraries read these variables when they are loaded.
    words = [sys.executable, "-W", "ignore", "-m", "benchmarks.gpu_profile", contest.text()]
    os.execve(sys.executable, words, environment_of(contest))


if __name__ == "__main__":
    main(sys.argv[1:])
