"""Small real things that the tests of manifests/ share: images, list files, runs."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

import numpy as np
import pytest
from PIL import Image

from container.recipe import Recipe
from manifests.record import outcome, schema
from manifests.record.canonical_json import digest_of
from manifests.record.run_files import RunFiles
from manifests.rundir.job import Job
from manifests.rundir.records import trail_digest
from manifests.rundir.snapshot import copy_snapshot, take_snapshot

CREATED = "2026-01-31T23:59:58Z"
RECIPE = Recipe(
    "cpu", {"Singularity.def": "Bootstrap: localimage\n", "container/locks/cpu.json": "{}\n"}
)
METRICS = {"main/loss": 0.5, "validation/main/accuracy": 0.9, "elapsed_time": 1.5}
LOG = (json.dumps({"main/loss": 2.0}) + "\n" + json.dumps(METRICS) + "\n").encode()


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def jpeg() -> Callable[..., bytes]:
    """Bytes of a JPEG file with something in it."""

    def make(seed: int = 0, size: tuple = (256, 256), kind: str = "JPEG") -> bytes:
        noise = np.random.Generator(np.random.Philox(seed)).integers(0, 256, (8, 8, 3), np.uint8)
        stream = io.BytesIO()
        Image.fromarray(noise).resize(size).save(stream, format=kind)
        return stream.getvalue()

    return make


@pytest.fixture
def mean_bytes() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.full((3, 256, 256), 127.5, "<f4"))
    return stream.getvalue()


@pytest.fixture
def data_set(tmp_path: Path, jpeg: Callable[..., bytes], mean_bytes: bytes) -> Path:
    """A folder with 4 training and 2 validation images of 2 classes, lists and mean image."""
    folder = tmp_path / "data"
    folder.mkdir()
    for name, count in (("train", 4), ("val", 2)):
        lines = []
        for number in range(count):
            path = f'{name}/{number % 2}/it\'s a "{number}".jpg'
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(jpeg(seed=hash((count, number)) % 1000))
            lines.append(f"{path} {number % 2}\n")
        (folder / f"{name}.txt").write_text("".join(lines))
    (folder / "mean.npy").write_bytes(mean_bytes)
    return folder


def make_trail(ranks: int, steps: int, interval: int) -> List[List[outcome.TrailRecord]]:
    def tensors(kind: str, step: int) -> Dict[str, str]:
        return {name: sha(f"{kind} {name} {step}".encode()) for name in ("conv/W", "conv/b")}

    trail = []
    for rank in range(ranks):
        records = []
        if rank == 0:
            records.append(outcome.TrailRecord(step=0, parameters=tensors("parameters", 0)))
        for step in range(1, steps + 1):
            full = rank == 0 and (step % interval == 0 or step == steps)
            records.append(
                outcome.TrailRecord(
                    step=step,
                    epoch=step / 4,
                    samples=sha(f"samples {rank} {step}".encode()),
                    loss=(2.0 / step + rank).hex(),
                    gradients=tensors("gradients", step) if full else None,
                    parameters=tensors("parameters", step) if full else None,
                )
            )
        trail.append(records)
    return trail


@pytest.fixture
def trail() -> Callable[..., List[List[outcome.TrailRecord]]]:
    def make(ranks: int = 2, steps: int = 12, interval: int = 5) -> Any:
        return make_trail(ranks, steps, interval)

    return make


def make_manifest(
    code: Optional[schema.CodeIdentity] = None,
    other_code: Optional[schema.CodeIdentity] = None,
    data: Optional[schema.DataIdentity] = None,
    root: str = "/data",
    **settings: Any,
) -> schema.Manifest:
    set_identity = schema.SampleSetIdentity(sha256="1" * 64, samples=4)
    array = schema.ArrayIdentity(sha256="2" * 64, shape=[3, 256, 256], dtype="float32")
    files = {"train.py": schema.FileDigest(sha256="3" * 64, size=1)}
    digest = digest_of({key: item.model_dump(mode="json") for key, item in files.items()})
    identity = schema.Identity(
        training=schema.Training(
            **{
                "arch": "nin", "nclasses": 2, "insize": 67, "epochs": 3, "batchsize": 2,
                "val_batchsize": 2, "communicator": "naive", "precision": "float32", "seed": 0,
                "optimizer": schema.Optimizer(name="momentum_sgd", lr=0.01), **settings,
            }
        ),
        code=code or schema.CodeIdentity(digest=digest, files=files),
        image=schema.ImageIdentity(
            stack="cpu", sha256=sha(b"image"), size=5, lock_sha256=RECIPE.lock_sha256,
            recipe_sha256=RECIPE.sha256,
        ),
        data=data or schema.DataIdentity(train=set_identity, val=set_identity, mean=array),
        world=schema.World(ranks=2, nodes=1),
        determinism=schema.Determinism(environment={"OPENBLAS_CORETYPE": "Haswell"}, mca={}),
    )  # fmt: skip
    return schema.Manifest(
        identity_digest=identity.digest(),
        identity=identity,
        circumstance=schema.Circumstance(
            created=CREATED,
            host="node1",
            user="somebody",
            tool_version="0.1.0",
            paths=schema.Paths(image="/i.sif", train_root=root, val_root=root, out="/out"),
            placement=schema.Placement(site="local", jobname="digits"),
            loading=schema.Loading(),
            observing=schema.Observing(trail_interval=5),
            other_code=other_code,
        ),
        promises=schema.Promises(cpu_features=["avx2"]),
        recipe=schema.Recipe(stack=RECIPE.stack, files=RECIPE.files),
    )


@pytest.fixture
def manifest() -> Callable[..., schema.Manifest]:
    return make_manifest


def make_result(
    manifest: schema.Manifest, tensors: Dict[str, str], trail_sha256: str, model: bytes, steps: int
) -> outcome.Result:
    return outcome.Result(
        identity_digest=manifest.identity_digest,
        steps=steps,
        digests=outcome.ResultDigests(
            parameters=digest_of(tensors),
            tensors=tensors,
            trail=trail_sha256,
            model=sha(model),
        ),
        metrics=METRICS,
        log=sha(LOG),
        observed=outcome.Observed(
            started=CREATED,
            finished=CREATED,
            seconds=1.5,
            versions={"numpy": "1.23.5"},
            cpu_model="Some CPU",
            cpu_features=["avx2", "fma"],
            environment={"OPENBLAS_CORETYPE": "Haswell"},
            ranks=[],
        ),
    )


@pytest.fixture
def result() -> Callable[..., outcome.Result]:
    return make_result


def write_trail(files: RunFiles, trail: List[List[outcome.TrailRecord]]) -> None:
    files.trail.mkdir(parents=True, exist_ok=True)
    for rank, records in enumerate(trail):
        lines = (record.model_dump_json(exclude_none=True) + "\n" for record in records)
        files.trail_of(rank).write_text("".join(lines))


@pytest.fixture
def finished_run(tmp_path: Path, data_set: Path) -> RunFiles:
    """A whole run directory on real files, as if it had been trained."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "trainer").mkdir()
    (project / "trainer" / "train.py").write_text("print('hello')\n")
    (project / "go.sh").write_text("#!/bin/sh\n")
    (project / "go.sh").chmod(0o755)
    files = RunFiles(tmp_path / "out" / "digits-20260131T235958Z-01234567")
    files.inputs.mkdir(parents=True)
    snapshot = take_snapshot(project)
    copy_snapshot(snapshot, files.code)
    identities = {}
    for name, table in (("train", files.train_table), ("val", files.val_table)):
        rows = []
        for line in (data_set / f"{name}.txt").read_text().splitlines():
            path, label = line.rsplit(None, 1)
            rows.append(f"{sha((data_set / path).read_bytes())}\t{label}\t{path}\n".encode())
        table.write_bytes(b"".join(rows))
        identities[name] = schema.SampleSetIdentity(sha256=sha(b"".join(rows)), samples=len(rows))
    mean = (data_set / "mean.npy").read_bytes()
    files.mean.write_bytes(mean)
    identities["mean"] = schema.ArrayIdentity(
        sha256=sha(mean), shape=[3, 256, 256], dtype="float32"
    )
    made = make_manifest(
        snapshot.identity, snapshot.other, schema.DataIdentity(**identities), str(data_set)
    )
    companions = {}
    for path, text in ((files.config, b"arch: nin\n"), (files.job_script, b"#!/bin/bash\n")):
        path.write_bytes(text)
        companions[path.name] = sha(text)
    made = made.model_copy(update={"companions": companions})
    files.manifest.write_text(json.dumps(made.model_dump(mode="json")))
    job = Job(backend="local", id="12.345", host="node1", submitted=CREATED)
    files.job.write_text(job.model_dump_json())
    trail = make_trail(2, 12, 5)
    write_trail(files, trail)
    files.model.write_bytes(b"model")
    files.log.write_bytes(LOG)
    tensors = trail[0][-1].parameters or {}
    outcome = make_result(made, tensors, trail_digest(files, 2), b"model", 12)
    files.result.write_text(outcome.model_dump_json())
    files.exit_code.write_text("0\n")
    files.done.touch()
    return files
