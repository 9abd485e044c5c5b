"""A run directory in which one thing after the other is altered; each is named."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, List

import pytest

from container.progress import Silent
from manifests.records import read_manifest
from manifests.schema import RunFiles
from manifests.verify import before_problems, verify_run


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.sif"
    path.write_bytes(b"image")
    return path


def verify(files: RunFiles, image: Any, **options: Any) -> List[str]:
    return verify_run(files, image_path=lambda _identity: image, progress=Silent(), **options)


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_nothing_altered(finished_run: RunFiles, image: Path, tmp_path: Path) -> None:
    assert verify(finished_run, image) == []
    manifest = read_manifest(finished_run)
    data = tmp_path / "data"
    assert (
        before_problems(
            finished_run,
            manifest,
            train_root=data,
            val_root=data,
            cache_folder=None,
            progress=Silent(),
        )
        == []
    )


def test_moved_data(finished_run: RunFiles, image: Path, tmp_path: Path) -> None:
    (tmp_path / "data").rename(tmp_path / "moved")
    gone, here = tmp_path / "data", tmp_path / "moved"
    assert verify(finished_run, image) == [
        f"inputs/train.tsv: its root folder {gone} does not exist",
        f"inputs/val.tsv: its root folder {gone} does not exist",
    ]
    assert verify(finished_run, image, check_data=False) == []
    assert verify(finished_run, image, train_root=here, val_root=here) == []


def test_everything_altered_at_once(finished_run: RunFiles, image: Path, tmp_path: Path) -> None:
    files = finished_run
    raw = json.loads(files.manifest.read_text())
    raw["identity"]["training"]["seed"] = 99
    files.manifest.write_text(json.dumps(raw))
    (files.code / "train.py").chmod(0o644)
    (files.code / "train.py").write_text("print('hullo')\n")
    files.mean.write_bytes(b"mean")
    files.val_table.unlink()
    image.write_bytes(b"Image")
    name, row = 'train/0/it\'s a "0".jpg', files.train_table.read_text().split("\t")[0]
    (tmp_path / "data" / name).write_bytes(b"pixel")
    files.model.write_bytes(b"Model")
    files.trail_of(0).write_bytes(b"")
    files.done.unlink()
    data = read_manifest(files).identity.data
    result = json.loads(files.result.read_text())
    trail = hashlib.sha256(files.trail_of(1).read_bytes()).hexdigest()
    problems = verify(files, image)
    assert problems[0].startswith("manifest.json: identity has the digest ")
    assert problems[0].endswith(f", identity_digest says {raw['identity_digest']}")
    assert problems[1].startswith(
        f"code/train.py: was altered: sha256 {sha(files.code / 'train.py')}"
    )
    assert problems[2:] == [
        "inputs/val.tsv: is missing",
        f"inputs/mean.npy: was altered: sha256 {sha(files.mean)}, expected {data.mean.sha256}",
        f"image: {image} was altered: sha256 {sha(image)}, "
        f"expected {hashlib.sha256(b'image').hexdigest()}",
        f"inputs/train.tsv, line 1: {tmp_path}/data/{name} was altered: "
        f"sha256 {hashlib.sha256(b'pixel').hexdigest()}, expected {row}",
        "DONE: is missing, the run is not complete",
        f"results/model.npz: was altered: sha256 {sha(files.model)}, "
        f"expected {result['digests']['model']}",
        f"results/trail: was altered: sha256 {trail}, expected {result['digests']['trail']}",
    ]


def test_no_image(finished_run: RunFiles) -> None:
    sha256 = hashlib.sha256(b"image").hexdigest()
    assert verify(finished_run, None) == [
        f"image: no file with sha256 {sha256} (stack cpu) is here"
    ]


def test_result_of_another_run(finished_run: RunFiles, image: Path) -> None:
    raw = json.loads(finished_run.result.read_text())
    expected = raw["identity_digest"]
    raw["identity_digest"] = "0" * 64
    raw["steps"] = 13
    parameters = raw["digests"]["parameters"]
    raw["digests"]["parameters"] = "1" * 64
    raw["digests"]["trail"] = hashlib.sha256(
        b"".join(finished_run.trail_of(rank).read_bytes() for rank in (0, 1))
    ).hexdigest()
    finished_run.result.write_text(json.dumps(raw))
    assert verify(finished_run, image) == [
        f"result.json: is that of identity {'0' * 64}, the manifest's is {expected}",
        f"result.json: digests.tensors have the digest {parameters}, "
        f"digests.parameters says {'1' * 64}",
        "results/trail: rank 0 ends at step 12, result.json has 13",
        "results/trail: rank 1 ends at step 12, result.json has 13",
    ]


def test_result_missing(finished_run: RunFiles, image: Path) -> None:
    finished_run.result.unlink()
    assert verify(finished_run, image) == [f"{finished_run.result}: does not exist"]
