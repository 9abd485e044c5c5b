"""Contestants measured in turns, so that a busy machine is busy for all of them; tables of it."""

from __future__ import annotations

import os
import resource
import statistics
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Dict, List, Mapping, Sequence

#: Clock ticks of /proc/PID/stat per second (proc(5)).
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Times:
    """Seconds of each round: on the clock, and of processors in all processes of this one."""

    wall: List[float] = field(default_factory=list)
    cpu: List[float] = field(default_factory=list)

    @property
    def best_wall(self) -> float:
        return min(self.wall)

    @property
    def middle_wall(self) -> float:
        return statistics.median(self.wall)

    @property
    def middle_cpu(self) -> float:
        return statistics.median(self.cpu)


def take_turns(
    contestants: Mapping[str, Callable[[], object]],
    rounds: int,
    what: str,
    between: Callable[[], object] = lambda: None,
) -> Dict[str, Times]:
    """One round is one call of each, in an order that turns; one call of each before is not
    counted. ``between`` is called before each, and not measured."""
    names = list(contestants)
    times = {name: Times() for name in names}
    for number in range(-1, rounds):
        for place in range(len(names)):
            name = names[(place + max(number, 0)) % len(names)]
            say(f"{what}: {name}, round {number + 1} of {rounds}")
            between()
            begun, spent = time.perf_counter(), processor_seconds()
            contestants[name]()
            if number >= 0:
                times[name].wall.append(time.perf_counter() - begun)
                times[name].cpu.append(processor_seconds() - spent)
    return times


def processor_seconds() -> float:
    """User and system time of this process, its descendants, and those that have ended; of the
    descendants in whole ticks, which are 10 ms."""
    parents: Dict[int, List[int]] = {}
    seconds: Dict[int, float] = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            with suppress(OSError, IndexError):
                fields = (path / "stat").read_text(errors="replace").rpartition(")")[2].split()
                pid = int(path.name)
                parents.setdefault(int(fields[1]), []).append(pid)
                seconds[pid] = sum(int(ticks) for ticks in fields[11:15]) / TICKS
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = time.process_time() + ended.ru_utime + ended.ru_stime
    family = list(parents.get(os.getpid(), []))
    while family:
        pid = family.pop()
        total += seconds.get(pid, 0.0)
        family += parents.get(pid, [])
    return total


def say(text: str) -> None:
    end = "" if sys.stderr.isatty() else "\n"
    print(f"\r\033[K{text}" if sys.stderr.isatty() else text, end=end, file=sys.stderr, flush=True)


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Markdown; numbers right, the first column left."""
    lines = [heads, ["---", *("---:" for _ in heads[1:])], *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def machine() -> str:
    """One line on what this was measured on."""
    model = "unknown processor"
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(x for x in lines if x.startswith("model name")).partition(": ")[2]
    load = os.getloadavg()[0]
    return f"{model}, {len(os.sched_getaffinity(0))} cores, load {load:.1f} at the beginning"
