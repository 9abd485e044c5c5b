"""A run directory in which one thing after the other is altered; each is named."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest

from container.progress import Silent
from container.recipe import Recipe
from manifests.flows.recorded_data import data_moved
from manifests.record.run_files import RunFiles
from manifests.rundir.records import read_manifest
from manifests.rundir.verify import before_problems, verify_run


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.sif"
    path.write_bytes(b"image")
    return path


def verify(files: RunFiles, image: Any, **options: Any) -> List[str]:
    return verify_run(files, image_path=lambda _identity: image, progress=Silent(), **options).all


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_nothing_altered(finished_run: RunFiles, image: Path, tmp_path: Path) -> None:
    assert verify(finished_run, image) == []
    manifest = read_manifest(finished_run)
    assert (
        before_problems(
            finished_run,
            manifest,
            circumstance=manifest.circumstance,
            cache_folder=None,
            progress=Silent(),
        )
        == []
    )


def test_a_figure_is_no_mismatch(finished_run: RunFiles, image: Path) -> None:
    finished_run.plot.write_bytes(b"drawn")
    assert verify(finished_run, image) == []


def test_moved_data(finished_run: RunFiles, image: Path, tmp_path: Path) -> None:
    (tmp_path / "data").rename(tmp_path / "moved")
    gone, here = tmp_path / "data", tmp_path / "moved"
    assert verify(finished_run, image) == [
        f"inputs/train.tsv: its root folder {gone} does not exist",
        f"inputs/val.tsv: its root folder {gone} does not exist",
    ]
    assert verify(finished_run, image, check_data=False) == []
    moved = data_moved(read_manifest(finished_run).circumstance, {str(gone): str(here)})
    assert verify(finished_run, image, circumstance=moved) == []


def test_everything_altered_at_once(finished_run: RunFiles, image: Path, tmp_path: Path) -> None:
    files = finished_run
    raw = json.loads(files.manifest.read_text())
    raw["identity"]["training"]["seed"] = 99
    files.manifest.write_text(json.dumps(raw))
    (files.code / "trainer" / "train.py").chmod(0o644)
    (files.code / "trainer" / "train.py").write_text("print('hullo')\n")
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
        f"code/trainer/train.py: was altered: sha256 {sha(files.code / 'trainer' / 'train.py')}"
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


def edit_json(path: Path, edit: Callable[[Dict[str, Any]], None]) -> None:
    raw = json.loads(path.read_text())
    edit(raw)
    path.write_text(json.dumps(raw))


@pytest.mark.parametrize(
    ("name", "text"),
    [("config.yaml", "seed: 99\n"), ("job.sh", "#!/bin/sh\n"), ("results/log.jsonl", "{}\n")],
)
def test_altered_companions_and_log(
    finished_run: RunFiles, image: Path, name: str, text: str
) -> None:
    path = finished_run.root / name
    expected = sha(path)
    path.write_text(text)
    assert verify(finished_run, image) == [
        f"{name}: was altered: sha256 {sha(path)}, expected {expected}"
    ]
    path.unlink()
    assert verify(finished_run, image) == [f"{name}: is missing"]


def test_runs_of_before_companions(finished_run: RunFiles, image: Path) -> None:
    edit_json(finished_run.manifest, lambda raw: raw.pop("companions"))
    edit_json(finished_run.result, lambda raw: raw.pop("log"))
    assert verify(finished_run, image) == []
    finished_run.log.write_text("[]\n")
    assert verify(finished_run, image) == ["results/log.jsonl: last line is not a valid log row"]
    finished_run.log.unlink()
    assert verify(finished_run, image) == [
        "results/log.jsonl: cannot be read: No such file or directory"
    ]


def test_altered_metrics(finished_run: RunFiles, image: Path) -> None:
    edit_json(
        finished_run.result, lambda raw: raw["metrics"].update({"main/loss": 0.25, "lr": 1.0})
    )
    assert verify(finished_run, image) == [
        "result.json: metrics.lr is 1.0, the last row of results/log.jsonl has absent",
        "result.json: metrics.main/loss is 0.25, the last row of results/log.jsonl has 0.5",
    ]


@pytest.mark.parametrize("text", ["1", "", "null"])
def test_altered_exit_code(finished_run: RunFiles, image: Path, text: str) -> None:
    finished_run.exit_code.write_text(f"{text}\n")
    assert verify(finished_run, image) == [f"exit_code: is '{text}', expected 0 where DONE is"]


def test_missing_exit_code(finished_run: RunFiles, image: Path) -> None:
    finished_run.exit_code.unlink()
    assert verify(finished_run, image) == ["exit_code: cannot be read: No such file or directory"]


def test_altered_job_record(finished_run: RunFiles, image: Path) -> None:
    finished_run.job.write_text("[]")
    assert verify(finished_run, image) == [f"{finished_run.job}: is not a JSON object"]


def test_altered_recipe(finished_run: RunFiles, image: Path, tmp_path: Path) -> None:
    def alter(raw: Dict[str, Any]) -> None:
        raw["recipe"]["files"]["container/locks/cpu.json"] = "{} "

    edit_json(finished_run.manifest, alter)
    manifest = read_manifest(finished_run)
    of_image = manifest.identity.image
    found = Recipe("cpu", manifest.recipe.files)
    expected = [
        f"manifest.json: recipe was altered: it has the digest {found.sha256}, "
        f"identity.image.recipe_sha256 says {of_image.recipe_sha256}",
        f"manifest.json: recipe: container/locks/cpu.json has the sha256 {found.lock_sha256}, "
        f"identity.image.lock_sha256 says {of_image.lock_sha256}",
    ]
    assert verify(finished_run, image) == expected
    assert expected == before_problems(
        finished_run,
        manifest,
        circumstance=manifest.circumstance,
        cache_folder=None,
        progress=Silent(),
    )


def test_recipe_of_another_stack(finished_run: RunFiles, image: Path) -> None:
    edit_json(finished_run.manifest, lambda raw: raw["recipe"].update(stack="gpu"))
    manifest = read_manifest(finished_run)
    assert verify(finished_run, image) == [
        "manifest.json: recipe.stack is gpu, identity.image.stack is cpu",
        f"manifest.json: recipe was altered: it has the digest "
        f"{Recipe('gpu', manifest.recipe.files).sha256}, "
        f"identity.image.recipe_sha256 says {manifest.identity.image.recipe_sha256}",
        "manifest.json: recipe.files lacks container/locks/gpu.json",
    ]


def test_files_that_are_not_of_the_run(finished_run: RunFiles, image: Path) -> None:
    (finished_run.inputs / "initmodel.npz").write_bytes(b"")
    (finished_run.trail / "rank-00002.jsonl").write_bytes(b"")
    assert verify(finished_run, image) == [
        "inputs/initmodel.npz: is not a file of this run",
        "results/trail/rank-00002.jsonl: is not a file of this run",
    ]


def test_code_that_is_a_link(finished_run: RunFiles, image: Path, tmp_path: Path) -> None:
    finished_run.code.rename(tmp_path / "elsewhere")
    finished_run.code.symlink_to(tmp_path / "elsewhere")
    assert verify(finished_run, image) == [
        f"code: is a link to {tmp_path}/elsewhere, expected the folder itself"
    ]
