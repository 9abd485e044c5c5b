"""Training speed on GPUs: every network and precision, with synthetic and with packed data, with
and without determinism, on one GPU and on all of this machine, beside PyTorch's ResNet-50.

python -m benchmarks.gpu [--arch ARCH…] [--json] …   (make bench-gpu)

Exit code 2 where there is no GPU. CuPy, Chainer and mpi4py are those of this Python, of whatever
version; PyTorch may be that of another one.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Dict, Iterator, List, Sequence

from benchmarks.gpu_contest import BUNDLE, IMAGES, MARK, TORCH, TORCH_TF32, Contest, Outcome
from benchmarks.gpu_refusal import refuse
from benchmarks.gpu_table import name_of, page
from benchmarks.rounds import say
from jobtemplates.one_host import mpirun_here
from manifests.config.determinism import determinism_for
from manifests.record.keys import INPUT_SIDE

PROJECT = Path(__file__).resolve().parents[1]
PRECISIONS = ("float32", "mixed")
DATA = ("synthetic", "packed")
PEER_ARCH = "resnet50"
#: Kept from contestants that are to choose freely, whoever set it. TF32 stays off for all of them.
TF32 = "NVIDIA_TF32_OVERRIDE"
PATIENCE = 1800.0


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=(__doc__ or "").partition("\n\n")[0]
    )
    add = parser.add_argument
    add("--arch", nargs="+", choices=sorted(INPUT_SIDE), default=sorted(INPUT_SIDE))
    add("--precision", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    add("--data", nargs="+", choices=DATA, default=list(DATA))
    add("--batch", type=at_least(1), default=64, help="images per GPU and step (64)")
    add("--steps", type=at_least(1), default=20, help="steps of a round (20)")
    add("--rounds", type=at_least(1), default=5, help="rounds that count (5)")
    add("--warmup", type=at_least(0), default=10, help="steps before them (10)")
    add("--workers", type=at_least(1), default=8, help="loader processes of a GPU (8)")
    add("--gpus", type=at_least(1), help="how many are `all` (as many as CUDA shows)")
    add("--torch-python", default=sys.executable, help="a Python that has PyTorch (this one)")
    add("--folder", type=Path, help="where packed data is made; 600 MB (TMPDIR)")
    add("--json", action="store_true", help="print JSON instead of a page in Markdown")
    add("--on-the-cpu", action="store_true", help="try the script without a GPU")
    return parser.parse_args(argv)


def at_least(smallest: int) -> Any:
    def number(text: str) -> int:
        value = int(text)
        if value < smallest:
            raise argparse.ArgumentTypeError(f"expected a number from {smallest} on, found {value}")
        return value

    return number


def contests(given: argparse.Namespace, gpus: int, folder: str) -> Iterator[Contest]:
    """Those of one GPU first, then those of all; the peer right after its ResNet-50."""
    counts = [min(1, gpus), *([gpus] if gpus > 1 else [])]
    for count in counts:
        for arch in given.arch:
            for precision in given.precision:
                for data in given.data:
                    for deterministic in (True, False):
                        for who in contestants(arch, precision, count, deterministic):
                            yield Contest(
                                who=who,
                                arch=arch,
                                precision=precision,
                                data=data,
                                deterministic=deterministic,
                                gpus=count,
                                batch=given.batch,
                                warmup=given.warmup,
                                steps=given.steps,
                                rounds=given.rounds,
                                workers=given.workers,
                                folder=folder,
                            )


def contestants(arch: str, precision: str, gpus: int, deterministic: bool) -> List[str]:
    if arch != PEER_ARCH or gpus > 1:
        return [BUNDLE]
    # What PyTorch's users get by default, float32 or not.
    as_it_comes = [TORCH_TF32] if precision == "float32" and not deterministic else []
    return [BUNDLE, TORCH, *as_it_comes]


def command(contest: Contest, torch_python: str) -> List[str]:
    module = "benchmarks.gpu_work" if contest.who == BUNDLE else "benchmarks.gpu_torch"
    python = sys.executable if contest.who == BUNDLE else torch_python
    words = [python, "-W", "ignore", "-m", module, contest.text()]
    if contest.ranks == 1:
        return words
    return [*mpirun_here(contest.ranks, {}, as_root=os.geteuid() == 0), *words]


def environment_of(contest: Contest) -> Dict[str, str]:
    """The knobs of a job, or none of those that choose algorithms on a GPU."""
    everyones = determinism_for("cpu").environment
    knobs = determinism_for("cuda12").environment
    kept = {name: value for name, value in os.environ.items() if name not in knobs}
    chosen = knobs if contest.deterministic else {**everyones, TF32: knobs[TF32]}
    if contest.who == TORCH_TF32:
        chosen = {name: value for name, value in chosen.items() if name != TF32}
    if contest.who != BUNDLE:
        # One thread is the trainer's rule; PyTorch's loaders have their own.
        chosen = {name: value for name, value in chosen.items() if name not in everyones}
    return {**kept, **chosen}


def ask(words: Sequence[str], environment: Dict[str, str]) -> Any:
    """What a contestant answers. Raises RuntimeError with the end of what it said instead."""
    try:
        done = subprocess.run(
            words, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=PATIENCE
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RuntimeError(str(error)) from error
    answers = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
    if done.returncode or not answers:
        said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise RuntimeError(said[-1] if said else f"exit code {done.returncode}, without a word")
    return json.loads(answers[-1][len(MARK) :])


def measured(contest: Contest, torch_python: str) -> Outcome:
    """A contestant that fails leaves the others their figures."""
    try:
        return Outcome(contest, ask(command(contest, torch_python), environment_of(contest)))
    except RuntimeError as error:
        return Outcome(contest, problem=str(error))


def look(python: str, module: str) -> Dict[str, Any]:
    try:
        found: Dict[str, Any] = ask([python, "-W", "ignore", "-m", module, "look"], {**os.environ})
    except RuntimeError as error:
        return {"problem": f"{python} cannot run {module}: {error}"}
    return found


def make_data(folder: Path) -> None:
    """The same images as a packed file, and as an array for PyTorch's loader."""
    import numpy as np

    from benchmarks.images import make_images
    from container.progress import Silent
    from manifests.datasets.pack import pack
    from manifests.record.packed_file import SHAPE, PackedFile

    say("packed data")
    make_images(folder, IMAGES)
    pack(folder / "list.txt", folder, folder / "list.pack", progress=Silent())
    file = PackedFile(folder / "list.pack")
    pixels = np.stack(
        [np.frombuffer(file.record(index), np.uint8).reshape(SHAPE) for index in range(IMAGES)]
    )
    np.save(folder / "pixels.npy", pixels)


def problem_of_data(folder: Path) -> str:
    """Make packed data; why there is none, in one line, or ""."""
    from container.trouble import Trouble

    try:
        make_data(folder)
    except Trouble as error:
        return error.problems[0]
    return ""


def run(given: argparse.Namespace) -> str:
    machine: Dict[str, Any] = {}
    if not given.on_the_cpu:
        machine = look(sys.executable, "benchmarks.gpu_work")
        if "problem" in machine:
            refuse(machine["problem"])
    gpus = given.gpus or len(machine.get("gpus", []))
    notes = []
    peer: Dict[str, Any] = {}
    if PEER_ARCH in given.arch and not given.on_the_cpu:
        peer = look(given.torch_python, "benchmarks.gpu_torch")
        if "problem" in peer:
            notes.append(f"PyTorch was not measured: {peer['problem']}.")
        else:
            machine["versions"] = {**machine["versions"], **peer["versions"]}
    outcomes = []
    with tempfile.TemporaryDirectory(dir=given.folder, prefix="bench-gpu-") as name:
        no_data = problem_of_data(Path(name)) if "packed" in given.data else ""
        if no_data:
            notes.append(f"Packed data was not measured: {no_data}.")
        asked = [
            contest
            for contest in contests(given, gpus, name)
            if (contest.who == BUNDLE or "problem" not in peer)
            and not (no_data and contest.data == "packed")
        ]
        try:
            for number, contest in enumerate(asked, 1):
                say(f"{number} of {len(asked)}: {', '.join(map(str, name_of(contest)))}")
                outcomes.append(measured(contest, given.torch_python))
        except KeyboardInterrupt:
            notes.append(f"Interrupted: {len(outcomes)} of {len(asked)} were measured.")
    if not outcomes:
        refuse("it was interrupted" if asked else no_data)
    day = f"{datetime.now(timezone.utc):%Y-%m-%d}"
    if given.json:
        results = [outcome.values() for outcome in outcomes]
        return json.dumps({"day": day, "machine": machine, "notes": notes, "results": results})
    return page(machine, day, outcomes, notes)


if __name__ == "__main__":
    print(run(parse(sys.argv[1:])))
