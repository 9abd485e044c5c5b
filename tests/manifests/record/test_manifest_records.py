"""Reading records: good ones, and each way in which one can be wrong."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest

from container.trouble import Trouble
from manifests.record.published_schema import PUBLISHED, schema_text
from manifests.record.run_files import RunFiles
from manifests.record.schema import Manifest
from manifests.rundir.records import (
    RESTORE,
    read_failure,
    read_manifest,
    read_result,
    read_trail,
    trail_digest,
)


def write(files: RunFiles, changes: Callable[[Dict[str, Any]], None], manifest: Manifest) -> None:
    raw = manifest.model_dump(mode="json")
    changes(raw)
    files.manifest.write_text(json.dumps(raw))


def test_newer_minor_version_keeps_its_fields(tmp_path: Path, manifest: Any) -> None:
    files = RunFiles(tmp_path)
    original = manifest()

    def newer(raw: Dict[str, Any]) -> None:
        raw["version"] = "1.7"
        raw["added"] = {"x": 1}
        raw["identity"]["training"]["added"] = [1, 2]

    write(files, newer, original)
    warnings: List[str] = []
    found = read_manifest(files, warnings.append)
    assert warnings == [
        f"{tmp_path}/manifest.json: version 1.7 is newer than 1.3: fields it added are kept, "
        "not used"
    ]
    assert found.model_dump(mode="json") == json.loads(files.manifest.read_text())
    assert found.identity.digest() != original.identity.digest()


def test_round_trip(tmp_path: Path, manifest: Any) -> None:
    files = RunFiles(tmp_path)
    write(files, lambda raw: None, manifest())
    assert read_manifest(files) == manifest()
    assert read_manifest(files).identity.digest() == manifest().identity_digest


@pytest.mark.parametrize(
    ("text", "problem", "next_step"),
    [
        (None, ": does not exist", RESTORE),
        ("", ", line 1, column 1: is not JSON: Expecting value", RESTORE),
        ('{"version": "1.0",\n "kind"', ", line 2, column 8: is not JSON: "
         "Expecting ':' delimiter", RESTORE),
        ("[1]", ": is not a JSON object", RESTORE),
        ('{"version": "2.0"}', ": version 2.0 is not known: this bundle reads version 1.x",
         "read it with a bundle of that version"),
        ('{}', ": version None is not of the form MAJOR.MINOR",
         "read it with a bundle of that version"),
    ],
)  # fmt: skip
def test_manifest_that_cannot_be_read(
    tmp_path: Path, text: str, problem: str, next_step: str
) -> None:
    files = RunFiles(tmp_path)
    if text is not None:
        files.manifest.write_text(text)
    with pytest.raises(Trouble) as caught:
        read_manifest(files)
    assert str(caught.value) == f"{tmp_path}/manifest.json{problem}\n-> {next_step}"


def test_every_wrong_field_is_named(tmp_path: Path, manifest: Any) -> None:
    files = RunFiles(tmp_path)

    def wrong(raw: Dict[str, Any]) -> None:
        raw["identity"]["training"]["seed"] = -1
        del raw["circumstance"]["host"]

    write(files, wrong, manifest())
    with pytest.raises(Trouble) as caught:
        read_manifest(files)
    where = f"{tmp_path}/manifest.json"
    assert caught.value.problems == [
        f"{where}: identity.training.seed: Input should be greater than or equal to 0",
        f"{where}: circumstance.host: Field required",
    ]


def test_results_and_failures(finished_run: RunFiles) -> None:
    assert read_result(finished_run).steps == 12
    assert read_failure(finished_run) is None
    finished_run.failure.write_text(
        '{"version": "1.0", "rank": 1, "message": "m", "next_step": "n"}'
    )
    failure = read_failure(finished_run)
    assert failure is not None
    assert failure.rank == 1


def test_trail(finished_run: RunFiles, trail: Any) -> None:
    assert read_trail(finished_run, 2) == trail(2, 12, 5)
    data = b"".join(finished_run.trail_of(rank).read_bytes() for rank in (0, 1))
    assert trail_digest(finished_run, 2) == hashlib.sha256(data).hexdigest()
    path = finished_run.trail_of(1)
    path.write_bytes(path.read_bytes()[:-3])
    assert read_trail(finished_run, 2)[1] == trail(2, 12, 5)[1][:-1]
    path.write_text('{"step": 1}\n{"step": "x"}\n')
    with pytest.raises(Trouble) as caught:
        read_trail(finished_run, 2)
    assert str(caught.value) == f"{path}, line 2: is not a trail record\n-> {RESTORE}"
    with pytest.raises(Trouble) as caught:
        read_trail(finished_run, 4)
    assert caught.value.problems == [
        f"{finished_run.trail_of(rank)}: does not exist" for rank in (2, 3)
    ]


def test_published_schema_is_the_models() -> None:
    assert PUBLISHED.read_text(encoding="utf-8") == schema_text(), (
        "run: python -m manifests.record.published_schema > manifests/manifest.schema.json"
    )


def test_published_schema_admits_unknown_fields() -> None:
    """Otherwise a newer minor version would not be valid for older readers."""
    published = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    for name, definition in {"Manifest": published, **published["$defs"]}.items():
        assert definition.get("additionalProperties") is True, name
