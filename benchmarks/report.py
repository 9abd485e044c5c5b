"""The page on a run of 100,000 steps of 8 ranks and its rerun: seconds, and memory at its peak,
beside reading every line of both trails as JSON.

python -m benchmarks.report [STEPS [RANKS]]
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Dict, List, Tuple

from benchmarks.rounds import machine, say, table
from container.recipe import load_recipe
from manifests.record import outcome, schema
from manifests.record.canonical_json import digest_of
from manifests.record.network_shapes import network_shapes
from manifests.record.run_files import RunFiles
from manifests.rundir.records import trail_digest

PROJECT = Path(__file__).resolve().parents[1]
PYTHON = PROJECT / ".venv" / "bin" / "python"
ROUNDS = 3
STEPS, RANKS, INTERVAL = 100_000, 8, 20
EPOCHS, CLASSES, BATCH = 90, 1000, 32
MOMENT = "2026-01-31T23:59:58Z"

#: What a program that keeps nothing does at least: both trails, line by line.
PEER = """\
import json, sys
for path in sys.argv[1:]:
    with open(path, "rb") as stream:
        for line in stream:
            json.loads(line)
"""


def digest(*words: object) -> str:
    return hashlib.sha256(repr(words).encode()).hexdigest()


def manifest_of(steps: int, ranks: int) -> schema.Manifest:
    kept = load_recipe(PROJECT, "cpu")
    samples = schema.SampleSetIdentity(
        sha256=digest("samples"), samples=steps * BATCH * ranks // EPOCHS
    )
    identity = schema.Identity(
        training=schema.Training(
            arch="resnet50", nclasses=CLASSES, insize=224, epochs=EPOCHS, batchsize=BATCH,
            val_batchsize=BATCH, optimizer=schema.Optimizer(name="momentum_sgd", lr=0.1),
            communicator="flat", precision="float32", seed=0,
        ),
        code=schema.CodeIdentity(digest=digest("code"), files={}),
        image=schema.ImageIdentity(
            stack="cpu", sha256=digest("image"), size=246_100_000, lock_sha256=kept.lock_sha256,
            recipe_sha256=kept.sha256,
        ),
        data=schema.DataIdentity(
            train=samples, val=samples,
            mean=schema.ArrayIdentity(sha256=digest("mean"), shape=[3, 256, 256], dtype="float32"),
        ),
        world=schema.World(ranks=ranks, nodes=2),
        determinism=schema.Determinism(environment={"OMP_NUM_THREADS": "1"}, mca={}),
    )  # fmt: skip
    return schema.Manifest(
        identity_digest=identity.digest(),
        identity=identity,
        circumstance=schema.Circumstance(
            created=MOMENT, host="login1", user="somebody", tool_version="0.1.0",
            paths=schema.Paths(image="/image.sif", train_root="/t", val_root="/v", out="/out"),
            placement=schema.Placement(site="slurm", jobname="imagenet"),
            loading=schema.Loading(), observing=schema.Observing(trail_interval=INTERVAL),
        ),
        promises=schema.Promises(cpu_features=["avx2", "fma"]),
        recipe=schema.Recipe(stack=kept.stack, files=dict(kept.files)),
    )  # fmt: skip


def tensors(kind: str, step: int) -> Dict[str, str]:
    names = network_shapes("resnet50", CLASSES).parameters
    first = digest(kind, step)[:26]
    return {name: f"{first}{place:06x}" for place, name in enumerate(names)}


def write_trail(files: RunFiles, steps: int, ranks: int, loss: float = 7.0) -> None:
    """As the trainer writes it: tensor digests of rank 0 every INTERVAL steps."""
    files.trail.mkdir(parents=True)
    for rank in range(ranks):
        with files.trail_of(rank).open("w") as stream:
            if rank == 0:
                state = {"step": 0, "parameters": tensors("parameters", 0)}
                stream.write(json.dumps(state) + "\n")
            for step in range(1, steps + 1):
                record: Dict[str, object] = {
                    "step": step, "epoch": EPOCHS * step / steps, "samples": digest(rank, step),
                    "loss": (loss / step + rank).hex(),
                }  # fmt: skip
                if rank == 0 and (step % INTERVAL == 0 or step == steps):
                    record.update(gradients=tensors("gradients", step))
                    record.update(parameters=tensors("parameters", step))
                stream.write(json.dumps(record) + "\n")


def write_log(files: RunFiles, steps: int) -> Dict[str, float]:
    rows: List[Dict[str, float]] = [
        {
            "epoch": epoch, "iteration": -(-steps * epoch // EPOCHS), "main/loss": 7.0 / epoch,
            "validation/main/loss": 7.5 / epoch, "main/accuracy": 1 - 1 / epoch,
            "validation/main/accuracy": 1 - 1.1 / epoch, "elapsed_time": 1800.0 * epoch,
        }
        for epoch in range(1, EPOCHS + 1)
    ]  # fmt: skip
    files.log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return rows[-1]


def write_run(files: RunFiles, made: schema.Manifest, steps: int, ranks: int) -> None:
    """A whole run directory, besides data, snapshot and model."""
    write_trail(files, steps, ranks)
    metrics = write_log(files, steps)
    files.manifest.write_text(json.dumps(made.as_written()))
    last = tensors("parameters", steps)
    result = outcome.Result(
        identity_digest=made.identity_digest,
        steps=steps,
        digests=outcome.ResultDigests(
            parameters=digest_of(last), tensors=last, trail=trail_digest(files, ranks),
            model=hashlib.sha256(b"model").hexdigest(),
        ),
        metrics=metrics,
        observed=outcome.Observed(
            started=MOMENT, finished=MOMENT, seconds=1800.0 * EPOCHS, versions={"numpy": "1.23.5"},
            cpu_model="Some CPU", cpu_features=["avx2", "fma"],
            environment=dict(made.identity.determinism.environment),
            ranks=[
                outcome.RankPlace(rank=rank, host=f"node{rank % 2}", local_rank=rank // 2)
                for rank in range(ranks)
            ],
            resumed_at=[steps // 3, 2 * steps // 3],
        ),
    )  # fmt: skip
    files.result.write_text(result.model_dump_json())
    files.model.write_bytes(b"model")
    files.exit_code.write_text("0\n")
    files.done.touch()


def make_runs(folder: Path, steps: int, ranks: int) -> Tuple[RunFiles, RunFiles]:
    """A run and a rerun of the same bits."""
    made = manifest_of(steps, ranks)
    first = RunFiles(folder / f"imagenet-20260131T235958Z-{made.identity_digest[:8]}")
    again = RunFiles(folder / f"imagenet-20260201T120000Z-{made.identity_digest[:8]}")
    write_run(first, made, steps, ranks)
    circumstance = made.circumstance.model_copy(update={"rerun_of": str(first.root)})
    rerun = made.model_copy(update={"kind": "rerun", "circumstance": circumstance})
    write_run(again, rerun, steps, ranks)
    return first, again


def measured(*argv: object) -> Tuple[float, float]:
    """Seconds on the clock, and megabytes at the peak, of one process."""
    begun = time.perf_counter()
    process = subprocess.Popen(
        [str(word) for word in argv], cwd=PROJECT, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{argv}: {process.returncode}")
    return time.perf_counter() - begun, usage.ru_maxrss * 1024 / 1e6


def main() -> None:
    steps, ranks = [*map(int, sys.argv[1:3]), *(STEPS, RANKS)[len(sys.argv[1:3]) :]]
    where = machine()
    with tempfile.TemporaryDirectory() as name:
        say("report: making the runs")
        first, again = make_runs(Path(name).resolve(), steps, ranks)
        trails = [run.trail_of(rank) for run in (first, again) for rank in range(ranks)]
        size = sum(path.stat().st_size for path in trails)
        contestants: Dict[str, List[object]] = {
            "bundle report": [PYTHON, "bundle.py", "report", again.root],
            "json.loads of each line": [PYTHON, "-c", PEER, *trails],
        }
        found: Dict[str, List[Tuple[float, float]]] = {title: [] for title in contestants}
        for number in range(ROUNDS):
            for title, argv in contestants.items():
                say(f"report: {title}, round {number + 1} of {ROUNDS}")
                found[title].append(measured(*argv))
        page = again.report.stat().st_size
        assert b"Identical:" in again.report.read_bytes()
    rows = [
        [
            title,
            f"{sorted(seconds for seconds, _ in one)[len(one) // 2]:.1f} s",
            f"{min(seconds for seconds, _ in one):.1f} s",
            f"{max(peak for _, peak in one):.0f} MB",
        ]
        for title, one in found.items()
    ]
    print(
        f"A page on {steps} steps of {ranks} ranks ({where}; two trails of {size / 2e6:.0f} MB "
        f"each, a page of {page / 1e3:.0f} kB)\n"
    )
    print(table(["what", "median", "best", "memory at its peak"], rows))


if __name__ == "__main__":
    main()
