"""One training step (forward, backward, update) of each network on one thread, beside the same
network of Chainer's own layers and of PyTorch's, the latter also held to the instructions that the
trainer uses.

python -m benchmarks.step [ARCH[:BATCH]…]
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from typing import Any, Callable, Dict, Iterator, List, Tuple

import numpy as np

from benchmarks.rounds import machine, table, take_turns
from manifests.config.determinism import determinism_for
from manifests.record.keys import INPUT_SIDE

BATCH = 16
ROUNDS = 3
NCLASSES = 1000
RATE, MOMENTUM, DECAY = 0.001, 0.9, 1e-4

OURS, PEER, NARROW, STOCK = "bundle", "PyTorch", "PyTorch, AVX2", "Chainer"
#: Who makes the steps, with what in its environment beside what all have. The trainer's knobs keep
#: OpenBLAS and NumPy from AVX-512, so that other CPUs give the same bits.
CONTESTANTS: Dict[str, Dict[str, str]] = {
    OURS: {},
    PEER: {},
    NARROW: {
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    },
    STOCK: {},
}

#: A step, and the number of the network's parameters.
Step = Tuple[Callable[[], None], int]


def images_of(arch: str, batch: int) -> Any:
    side = INPUT_SIDE[arch][1]
    generator = np.random.Generator(np.random.Philox(1))
    return generator.uniform(-0.5, 0.5, (batch, 3, side, side)).astype(np.float32)


def prepare_model(arch: str) -> Any:
    import chainer

    from trainer.initial import set_initial
    from trainer.models import MODELS

    chainer.global_config.dtype = np.dtype(np.float32)
    chainer.global_config.use_ideep = "never"
    model = MODELS[arch](NCLASSES)
    set_initial(model, 0, model.initial_limit)
    return model


def batch_for(arch: str, batch: int) -> Any:
    from trainer.data import TrainingBatch
    from trainer.order import StreamPosition

    labels = np.arange(batch, dtype=np.int32)
    return TrainingBatch(
        images_of(arch, batch), labels, [StreamPosition(k, 0) for k in range(batch)]
    )


def our_step(arch: str, batch: int) -> Step:
    from manifests.record import schema
    from trainer.loop import gradients
    from trainer.memory import keep_freed_memory
    from trainer.optimizers import OPTIMIZERS

    keep_freed_memory()
    model, work = prepare_model(arch), batch_for(arch, batch)
    settings = schema.Optimizer(name="momentum_sgd", lr=RATE, momentum=MOMENTUM, weight_decay=DECAY)
    optimizer = OPTIMIZERS[settings.name](model, settings)

    def step() -> None:
        gradients(model, work, 0)
        optimizer.update(RATE, 0.0, 1)

    return step, count(model)


def stock_step(arch: str, batch: int) -> Step:
    """The trainer's networks with every layer that is the trainer's own taken from Chainer."""
    import chainer
    import chainer.functions as F

    from trainer import models
    from trainer.layers.convolution import Convolution2D
    from trainer.layers.draws import Draws
    from trainer.layers.normalized import NormalizedConvolution
    from trainer.loop import gradients

    def convolve(link: Any, x: Any, relu: bool = False) -> Any:
        b = getattr(link, "b", None)
        y = F.convolution_2d(x, link.W, b, stride=link.stride, pad=link.pad, groups=link.groups)
        return F.relu(y) if relu else y

    def normalize(link: Any, x: Any, relu: bool = False, shortcut: Any = None) -> Any:
        y = link.norm(link.conv(x))
        y = y if shortcut is None else y + shortcut
        return F.relu(y) if relu else y

    Convolution2D.forward = convolve  # type: ignore[method-assign, assignment]
    NormalizedConvolution.forward = normalize  # type: ignore[method-assign, assignment]
    Draws.dropout = lambda draws, x, ratio, layer: F.dropout(x, ratio)  # type: ignore
    layers = {
        "max_pooling_2d": F.max_pooling_2d,
        "average_pooling_2d": F.average_pooling_2d,
        "local_response_normalization": F.local_response_normalization,
    }
    network = getattr(models, arch)
    for name, layer in layers.items():
        if hasattr(network, name):
            setattr(network, name, layer)

    model, work = prepare_model(arch), batch_for(arch, batch)
    optimizer = chainer.optimizers.MomentumSGD(RATE, MOMENTUM).setup(model)
    optimizer.add_hook(chainer.optimizer_hooks.WeightDecay(DECAY))

    def step() -> None:
        gradients(model, work, 0)
        optimizer.update()

    return step, count(model)


def count(model: Any) -> int:
    return sum(parameter.size for parameter in model.params())


def torch_step(arch: str, batch: int) -> Step:
    import torch
    from torch.nn.functional import cross_entropy

    from benchmarks.torch_networks import NETWORKS
    from trainer.models.auxiliary import WEIGHT

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = NETWORKS[arch](NCLASSES)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM, weight_decay=DECAY)
    images, labels = torch.from_numpy(images_of(arch, batch)), torch.arange(batch)

    def step() -> None:
        optimizer.zero_grad()
        *auxiliary, scores = model(images)
        loss = cross_entropy(scores, labels)
        for each in auxiliary:
            loss = loss + WEIGHT * cross_entropy(each, labels)
        loss.backward()
        optimizer.step()

    return step, sum(parameter.numel() for parameter in model.parameters())


STEPS: Dict[str, Callable[[str, int], Step]] = {
    OURS: our_step,
    PEER: torch_step,
    NARROW: torch_step,
    STOCK: stock_step,
}


def work(who: str, arch: str, batch: int) -> None:
    """Say how many parameters there are; then make a step for each line that comes in, and answer
    with the most memory so far, in MB."""
    step, parameters = STEPS[who](arch, batch)
    print(parameters, flush=True)
    for _ in sys.stdin:
        step()
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, flush=True)


class Worker:
    """A contestant in a process of its own: allocators and thread pools of others are not there."""

    def __init__(self, who: str, process: subprocess.Popen[str]) -> None:
        self.who = who
        self.megabytes = 0
        self._process = process
        self.parameters = self._answer()

    def step(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("step\n")
        self._process.stdin.flush()
        self.megabytes = self._answer()

    def _answer(self) -> int:
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"{self.who} ended")
        return int(answer)


@contextmanager
def worker(who: str, arch: str, batch: int) -> Iterator[Worker]:
    words = [sys.executable, "-W", "ignore", "-m", "benchmarks.step", "work", who, arch, str(batch)]
    knobs = determinism_for("cpu").environment
    environment = {**os.environ, **knobs, **CONTESTANTS[who]}
    with subprocess.Popen(
        words, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Worker(who, process)


def measure(arch: str, batch: int) -> List[str]:
    """The row of a network. Processor seconds, because a busy machine stretches the others."""
    with ExitStack() as stack:
        workers = {who: stack.enter_context(worker(who, arch, batch)) for who in CONTESTANTS}
        parameters = {who: each.parameters for who, each in workers.items()}
        assert len(set(parameters.values())) == 1, f"not the same network: {parameters}"
        steps = {who: each.step for who, each in workers.items()}
        times = take_turns(steps, ROUNDS, f"{arch}, batch {batch}")

    def ratio(who: str, peer: str) -> str:
        turns = zip(times[peer].cpu, times[who].cpu)
        return f"{statistics.median(theirs / own for theirs, own in turns):.2f}"

    return [
        arch,
        str(batch),
        *(f"{times[who].middle_cpu:.2f}" for who in CONTESTANTS),
        *(ratio(OURS, peer) for peer in (PEER, NARROW, STOCK)),
        " / ".join(str(workers[who].megabytes) for who in (OURS, PEER, STOCK)),
    ]


def main(wanted: List[str]) -> None:
    where = machine()
    rows = []
    for name in wanted or sorted(INPUT_SIDE):
        arch, _, batch = name.partition(":")
        rows.append(measure(arch, int(batch or BATCH)))
    print(f"Forward, backward and update ({where}; medians of {ROUNDS} turns)\n")
    heads = ["network", "batch", *(f"{who}, CPU s" for who in CONTESTANTS)]
    heads += [f"speed beside {peer}" for peer in (PEER, NARROW, STOCK)]
    print(table([*heads, f"peak memory of {OURS} / {PEER} / {STOCK}, MB"], rows))


if __name__ == "__main__":
    if sys.argv[1:2] == ["work"]:
        work(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        main(sys.argv[1:])
