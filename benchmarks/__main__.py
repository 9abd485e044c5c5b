"""All benchmarks one after another: ``python -m benchmarks > docs/benchmarks.md`` (make bench).

Each runs in processes of its own, one thread each, with the knobs that a job script sets.
"""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import List

from jobtemplates.one_host import mpirun_here
from manifests.config.determinism import determinism_for

PROJECT = Path(__file__).resolve().parents[1]

HEAD = """# Benchmarks

Made by `make bench` on {day}. Tests do not check these figures. Another machine has other
figures. Each figure is compared with that of another program, measured in turns in the same run.
So ratios are more reliable than seconds. Versions: {versions}.

All programs run with the environment variables of [determinism.md](determinism.md) and one thread
per process. Otherwise PyTorch has its own defaults.
"""


def main() -> None:
    knobs = determinism_for("cpu")
    environment = {**os.environ, **knobs.environment, "OMP_NUM_THREADS": "1"}
    print(HEAD.format(day=f"{datetime.now(timezone.utc):%Y-%m-%d}", versions=versions()))
    python = [sys.executable, "-W", "ignore", "-m"]
    ranks = [[*mpirun(ranks, knobs.mca), *python, "benchmarks.ranks"] for ranks in (1, 2, 4)]
    for title, commands in {
        "Loading": [[*python, "benchmarks.loader"]],
        "A training step": [[*python, "benchmarks.step"]],
        "One, two and four ranks": ranks,
        "Fewer processes than ranks": [[*python, "benchmarks.processes"]],
        "Trail and checkpoints": [[*python, "benchmarks.records"]],
        "Submitting": [[*python, "benchmarks.submit"]],
        "Daily use": [[*python, "benchmarks.daily"]],
        "A page on a long run": [[*python, "benchmarks.report"]],
        "A run as one file": [[*python, "benchmarks.export"]],
    }.items():
        print(f"## {title}\n", flush=True)
        for command in commands:
            done = subprocess.run(
                command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, text=True, check=True
            )
            print(done.stdout, flush=True)


def mpirun(ranks: int, mca: dict[str, str]) -> List[str]:
    shared_memory = {"pml": "ob1", "btl": "self,vader"}
    return mpirun_here(ranks, {**mca, **shared_memory}, as_root=os.geteuid() == 0)


def versions() -> str:
    from importlib.metadata import version

    names = ("numpy", "chainer", "pillow", "mpi4py", "torch")
    python = ".".join(map(str, sys.version_info[:3]))
    return ", ".join([f"Python {python}", *(f"{name} {version(name)}" for name in names)])


if __name__ == "__main__":
    main()
