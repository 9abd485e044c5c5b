"""How long `submit` and `status` take, apart from the scheduler: its commands answer at once here.

The peer is submitit, which hands Python functions to Slurm; it pickles one and writes a script,
without snapshot, digests or checks. python -m benchmarks.submit
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Dict, List

import numpy as np
from PIL import Image

from benchmarks.rounds import machine, say, table, take_turns
from container.cache import cache_root

PROJECT = Path(__file__).resolve().parents[1]
PYTHON = PROJECT / ".venv" / "bin" / "python"
ROUNDS = 9
IMAGES = 1000
RUNS = 1000
FIRST_JOB = 1000

COMMANDS = {
    "sbatch": 'case "$*" in *--parsable*) echo 7 ;; *) echo Submitted batch job 7 ;; esac',
    "sinfo": "echo n1; echo n2",
    "squeue": 'cat "$(dirname "$0")/jobs"',
    "sacct": 'cat "$(dirname "$0")/accounts"',
}

SUBMITIT = """\
import sys
import submitit
executor = submitit.SlurmExecutor(folder=sys.argv[1])
executor.update_parameters(nodes=2, time=60)
print(executor.submit(print, "hello").job_id)
"""

SUBMITIT_STATES = """\
import sys
import submitit
jobs = [submitit.SlurmJob(sys.argv[1], str(number)) for number in range(*map(int, sys.argv[2:]))]
print(len([job.state for job in jobs]))
"""

#: Module of the flows -> functions that are timed where it calls them, by title.
PARTS = {
    "submit": {
        "config, profile, lists, mean": ["read_request"],
        "manifest and job script": ["identity_of", "circumstance_of", "render_script"],
    },
    "host_answers": {
        "scheduler: how many nodes": ["refuse_too_many_nodes"],
        "which mpirun": ["host_mpi_warnings"],
        "image: digest, how it starts": ["built_image", "launch_context_of"],
    },
    "material": {
        "snapshot of the code": ["take_snapshot"],
        "fingerprint of the data": ["fingerprints"],
    },
}

#: Run by the project's own Python, with the functions above timed where submit calls them.
INSIDE = """\
import gc, json, os, sys, time
from pathlib import Path
gc.set_threshold(100_000, 20, 20)  # as bundle.py does
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
begun = time.perf_counter()
import bundle
import manifests.cli.foreground, manifests.cli.overview
import manifests.flows.plan, manifests.flows.start, manifests.flows.submit as submit
spent = {"import of libraries and bundle": time.perf_counter() - begun}
def timed(title, act):
    def call(*words, **named):
        begun = time.perf_counter()
        try:
            return act(*words, **named)
        finally:
            spent[title] = spent.get(title, 0.0) + time.perf_counter() - begun
    return call
for module, parts in json.loads(sys.argv[2]).items():
    place = sys.modules[f"manifests.flows.{module}"]
    for title, names in parts.items():
        for name in names:
            setattr(place, name, timed(title, getattr(place, name)))
from manifests.cli.command_line import host_context
world = host_context()
plan = timed("plan", submit.plan_submit)(Path(sys.argv[1]), world)
files = timed("run directory", manifests.flows.plan.write_run)(plan)
timed("scheduler: sbatch", manifests.flows.start.start_new)(files, world)
spent["the rest of the plan"] = 2 * spent["plan"] - sum(
    seconds for title, seconds in spent.items()
    if title not in ("import of libraries and bundle", "run directory", "scheduler: sbatch")
)
del spent["plan"]
print(json.dumps(spent))
"""


class Desk:
    """A folder with data, a config, a scheduler that answers at once, and what submit needs."""

    def __init__(self, root: Path) -> None:
        self.root = root
        bin_folder, cache = root / "bin", root / "cache"
        for folder in (bin_folder, cache, root / "submitit"):
            folder.mkdir()
        for name, text in COMMANDS.items():
            (bin_folder / name).write_text(f"#!/bin/sh\n{text}\n")
            (bin_folder / name).chmod(0o755)
        jobs = range(FIRST_JOB, FIRST_JOB + RUNS)
        (bin_folder / "jobs").write_text("".join(f"{job}|RUNNING|None\n" for job in jobs))
        accounts = "".join(f"{job}|RUNNING|n1\n" for job in jobs)
        (bin_folder / "accounts").write_text(f"JobID|State|NodeList\n{accounts}")
        (cache / "images").symlink_to(cache_root(os.environ) / "images")
        self.environment = {
            **os.environ,
            "PATH": f"{bin_folder}:{os.environ['PATH']}",
            "BUNDLE_CACHE": str(cache),
            "XDG_CONFIG_HOME": str(root),
        }
        self.config = self._config()

    def _config(self) -> Path:
        Image.fromarray(np.zeros((256, 256, 3), np.uint8)).save(self.root / "black.jpg")
        data = (self.root / "black.jpg").read_bytes()
        for name, count in (("train", IMAGES), ("val", IMAGES // 10)):
            (self.root / name).mkdir()
            for number in range(count):
                (self.root / name / f"{number}.jpg").write_bytes(data)
            lines = "".join(f"{number}.jpg {number % 8}\n" for number in range(count))
            (self.root / f"{name}.txt").write_text(lines)
        np.save(self.root / "mean.npy", np.zeros((3, 256, 256), np.float32))
        names = ("train", "val")
        values = {
            "stack": "cpu",
            "site": "slurm", "nnodes": 2, "ranks_per_node": 2, "arch": "resnet50", "nclasses": 8,
            "walltime": "01:00:00", "epoch": 1, "batchsize": 4, "out": str(self.root / "runs"),
            "mean.npy": str(self.root / "mean.npy"),
            **{name: str(self.root / f"{name}.txt") for name in names},
            **{f"{name}_root": str(self.root / name) for name in names},
        }  # fmt: skip
        config = self.root / "config.json"
        config.write_text(json.dumps(values))
        return config

    def call(self, *argv: object) -> str:
        words = [str(word) for word in argv]
        done = subprocess.run(
            words, cwd=PROJECT, env=self.environment, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            sys.exit(f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def bundle(self, *argv: object) -> str:
        return self.call(PYTHON, "bundle.py", *argv)

    def many_runs(self) -> None:
        """So many runs that are under way, below another folder than the benchmark's own."""
        first = next((self.root / "runs").iterdir())
        out = self.root / "many"
        job = json.loads((first / "job.json").read_text())
        for number in range(RUNS):
            clock = f"{number // 3600:02d}{number // 60 % 60:02d}{number % 60:02d}"
            run = out / f"config-20260101T{clock}Z-{first.name[-8:]}"
            shutil.copytree(first, run, ignore=shutil.ignore_patterns("code", "inputs"))
            (run / "job.json").write_text(json.dumps({**job, "id": str(FIRST_JOB + number)}))
        shutil.rmtree(self.root / "runs")
        for note in (self.root / "cache" / "outs").iterdir():
            note.write_text(f"{out}\n")


def submits(desk: Desk) -> str:
    say("submit: for the first time")
    desk.bundle("submit", desk.config)
    contestants = {
        "bundle submit": lambda: desk.bundle("submit", desk.config),
        "submitit": lambda: desk.call(sys.executable, "-c", SUBMITIT, desk.root / "submitit"),
        "import of click, jinja2, pydantic, yaml": lambda: desk.call(
            PYTHON, "-c", "import click, jinja2, pydantic, yaml; pydantic.BaseModel"
        ),
        "python -c pass": lambda: desk.call(PYTHON, "-c", "pass"),
        "sbatch and sinfo": lambda: [desk.call(desk.root / "bin" / x) for x in ("sbatch", "sinfo")],
    }
    times = take_turns(contestants, ROUNDS, "submit")
    own = times["bundle submit"]
    return table(
        ["what", "median", "best", "CPU s", "of bundle's"],
        [
            [name, f"{found.middle_wall:.3f} s", f"{found.best_wall:.3f} s",
             f"{found.middle_cpu:.2f}", f"{found.middle_wall / own.middle_wall:.2f}"]
            for name, found in times.items()
        ],
    )  # fmt: skip


def where_it_goes(desk: Desk) -> str:
    rows: Dict[str, List[float]] = {}
    for number in range(ROUNDS):
        say(f"where the time goes: {number + 1} of {ROUNDS}")
        spent = json.loads(desk.call(PYTHON, "-c", INSIDE, desk.config, json.dumps(PARTS)))
        for title, seconds in spent.items():
            rows.setdefault(title, []).append(seconds)
    middle = {title: float(np.median(times)) for title, times in rows.items()}
    cells = [
        [title, f"{1e3 * seconds:.0f} ms"]
        for title, seconds in sorted(middle.items(), key=lambda item: -item[1])
    ]
    cells.append(["their sum", f"{1e3 * sum(middle.values()):.0f} ms"])
    return table(["part of submit", "median"], cells)


def statuses(desk: Desk) -> str:
    desk.many_runs()
    shown = json.loads(desk.bundle("status", "--json"))
    assert [row["state"] for row in shown] == ["running"] * RUNS, shown[:2]
    span = (FIRST_JOB, FIRST_JOB + RUNS)
    contestants = {
        "bundle status": lambda: desk.bundle("status"),
        "submitit, job.state": lambda: desk.call(
            sys.executable, "-c", SUBMITIT_STATES, desk.root / "submitit", *span
        ),
    }
    times = take_turns(contestants, ROUNDS, "status")
    return table(
        [f"{RUNS} runs", "median", "best", "CPU s"],
        [
            [name, f"{found.middle_wall:.3f} s", f"{found.best_wall:.3f} s",
             f"{found.middle_cpu:.2f}"]
            for name, found in times.items()
        ],
    )  # fmt: skip


def main() -> None:
    where = machine()
    base = PROJECT / ".bench"
    with tempfile.TemporaryDirectory(dir=base if base.is_dir() else None) as name:
        desk = Desk(Path(name).resolve())
        print(f"Submitting ({where}; {IMAGES} images known, medians of {ROUNDS} turns)\n")
        print(f"{submits(desk)}\n", flush=True)
        print(f"{where_it_goes(desk)}\n", flush=True)
        print(statuses(desk))


if __name__ == "__main__":
    main()
