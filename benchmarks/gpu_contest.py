"""One contestant of benchmarks.gpu: what it is to measure, and how. Any Python can read this."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from typing import Any, Callable, Dict, List

BUNDLE, TORCH, TORCH_TF32 = "bundle", "PyTorch", "PyTorch, TF32"

#: What begins the one line of standard output that the coordinator reads.
MARK = "benchmark-result "


#: In the packed file.
IMAGES = 1024


@dataclass(frozen=True)
class Contest:
    """``batch`` is that of each GPU; ``gpus`` 0 is the CPU, to try the scripts.

    ``folder`` holds what packed data is read from. Without ``deterministic`` libraries may choose
    algorithms by measuring them, and those that add in any order.
    """

    who: str
    arch: str
    precision: str  # float32 or mixed
    data: str  # synthetic or packed
    deterministic: bool
    gpus: int
    batch: int
    warmup: int
    steps: int
    rounds: int
    workers: int
    folder: str

    @property
    def ranks(self) -> int:
        return max(1, self.gpus)

    @property
    def images(self) -> int:
        """Of one round, over all ranks."""
        return self.batch * self.ranks * self.steps

    def text(self) -> str:
        return json.dumps(asdict(self))


def contest_of(text: str) -> Contest:
    return Contest(**json.loads(text))


@dataclass(frozen=True)
class Outcome:
    """``rates``: images/s of each round; none and a ``problem`` where the contestant failed."""

    contest: Contest
    rates: List[float] = field(default_factory=list)
    problem: str = ""

    def values(self) -> Dict[str, Any]:
        return {**asdict(self.contest), "images_per_second": self.rates, "problem": self.problem}


def timed(step: Callable[[], object], wait: Callable[[], object], contest: Contest) -> List[float]:
    """Images per second of each round. ``wait`` comes back when the GPU has nothing left to do."""
    for _ in range(contest.warmup):
        step()
    rates = []
    for _ in range(contest.rounds):
        wait()
        begun = time.perf_counter()
        for _ in range(contest.steps):
            step()
        wait()
        rates.append(contest.images / (time.perf_counter() - begun))
    return rates


def answer(values: Any) -> None:
    print(f"{MARK}{json.dumps(values)}", flush=True)
