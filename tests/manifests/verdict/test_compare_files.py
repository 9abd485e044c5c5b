"""Runs compared from their files, of which one was altered or lost since it was written."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any, Callable, Dict

from manifests.record.canonical_json import digest_of
from manifests.record.run_files import RunFiles
from manifests.verdict.compare import (
    Comparison,
    compare,
    exit_code,
    load_record,
)
from tests.manifests.verdict.test_compare import evidence

Edit = Callable[[Dict[str, Any]], None]


def test_runs_on_disk(finished_run: RunFiles) -> None:
    a = load_record(finished_run)
    assert a.faults == []
    assert compare(a, a).verdict == "identical"
    path = finished_run.trail_of(1)
    path.unlink()
    b = load_record(finished_run)
    found = compare(a, b)
    assert found.verdict == "inconclusive"
    assert evidence(found)[-2:] == [
        f"{finished_run.root}: there is no whole trail",
        f"{path}: does not exist",
    ]


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def edit_json(path: Path, edit: Edit) -> None:
    raw = json.loads(path.read_text())
    edit(raw)
    path.write_text(json.dumps(raw))


def compared_with_itself(files: RunFiles, alter: Callable[[], None]) -> Comparison:
    before = load_record(files)
    alter()
    for pair in ((before, load_record(files)), (load_record(files), before)):
        found = compare(*pair)
        assert exit_code(found.verdict) == 3
    return found


def test_an_altered_trail_is_no_difference(finished_run: RunFiles) -> None:
    path = finished_run.trail_of(1)

    def alter() -> None:
        path.write_text(path.read_text().replace('"loss":"0x1.', '"loss":"0x2.', 1))

    digests = json.loads(finished_run.result.read_text())["digests"]
    found = compared_with_itself(finished_run, alter)
    both = hashlib.sha256(finished_run.trail_of(0).read_bytes() + path.read_bytes()).hexdigest()
    assert found.first_difference is None
    assert evidence(found) == [
        f"final parameters of both: {digests['parameters']}",
        f"results/model.npz of both: {digests['model']}",
        f"{finished_run.root}/results/trail: was altered: sha256 {both}, "
        f"expected {digests['trail']}",
    ]


def test_an_altered_model_is_inconclusive(finished_run: RunFiles) -> None:
    path = finished_run.model
    expected = sha(path)

    def alter() -> None:
        path.write_bytes(b"another model")

    found = compared_with_itself(finished_run, alter)
    assert evidence(found)[-1] == (f"{path}: was altered: sha256 {sha(path)}, expected {expected}")
    of_both = [text.partition(" of both: ")[0] for text in evidence(found) if " of both: " in text]
    assert of_both == ["final parameters"]


def test_a_lost_model_is_restored_by_its_rerun(finished_run: RunFiles, tmp_path: Path) -> None:
    again = RunFiles(tmp_path / "again")
    shutil.copytree(finished_run.root, again.root)
    finished_run.model.unlink()
    found = compare(load_record(finished_run), load_record(again))
    assert found.verdict == "identical"
    assert evidence(found)[-1] == (
        f"{finished_run.root}: results/model.npz is gone; "
        f"the recorded model is there again: {again.model}"
    )


def test_a_rerun_with_another_model_than_the_lost_one_diverged(
    finished_run: RunFiles, tmp_path: Path
) -> None:
    again = RunFiles(tmp_path / "again")
    shutil.copytree(finished_run.root, again.root)
    expected = sha(finished_run.model)
    finished_run.model.unlink()
    again.model.write_bytes(b"another model")
    edit_json(again.result, lambda raw: raw["digests"].update(model=sha(again.model)))
    found = compare(load_record(finished_run), load_record(again))
    assert found.verdict == "diverged"
    assert evidence(found)[0] == f"results/model.npz {expected} | {sha(again.model)}"


def test_two_lost_models_prove_nothing(finished_run: RunFiles) -> None:
    finished_run.model.unlink()
    record = load_record(finished_run)
    found = compare(record, record)
    assert found.verdict == "inconclusive"
    assert evidence(found)[-2:] == [f"{finished_run.root}: results/model.npz is gone"] * 2


def test_an_altered_result_is_inconclusive(finished_run: RunFiles) -> None:
    model, root = finished_run.model, finished_run.root

    def other(raw: Dict[str, Any]) -> None:
        raw["digests"]["tensors"]["conv/W"] = "f" * 64
        raw["digests"]["model"] = "0" * 64
        raw["identity_digest"] = "1" * 64

    before = json.loads(finished_run.result.read_text())
    found = compared_with_itself(finished_run, lambda: edit_json(finished_run.result, other))
    tensors = digest_of({**before["digests"]["tensors"], "conv/W": "f" * 64})
    assert evidence(found)[-3:] == [
        f"{root}/result.json: is that of identity {'1' * 64}, "
        f"the manifest's is {before['identity_digest']}",
        f"{root}/result.json: digests.tensors have the digest {tensors}, "
        f"digests.parameters says {before['digests']['parameters']}",
        f"{model}: was altered: sha256 {sha(model)}, expected {'0' * 64}",
    ]


def test_an_altered_identity_is_inconclusive(finished_run: RunFiles) -> None:
    found = compared_with_itself(
        finished_run,
        lambda: edit_json(
            finished_run.manifest, lambda raw: raw["identity"]["training"].update(seed=9)
        ),
    )
    raw = json.loads(finished_run.manifest.read_text())
    assert evidence(found)[-1] == (
        f"{finished_run.manifest}: identity has the digest {digest_of(raw['identity'])}, "
        f"identity_digest says {raw['identity_digest']}"
    )
