"""Runs that are written at the same moment: each gets a name and a job script of its own."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from container.trouble import Trouble
from manifests.flows.plan import Plan, write_run
from manifests.record.run_files import RunFiles
from manifests.record.schema import Manifest
from tests.records import manifest_values


def plan_in(out: Path) -> Plan:
    def render(files: RunFiles) -> str:
        return f"cd {files.root}\n"

    def fill(files: RunFiles) -> None:
        files.config.write_text("arch: nin\n")

    files = RunFiles(out / "my-digits-20261231T235959Z-abcdef01")
    manifest = Manifest.model_validate(manifest_values())
    return Plan(files, manifest, render(files), render, fill, warnings=[])


def test_the_same_name_in_the_same_second(tmp_path: Path) -> None:
    runs = [write_run(plan_in(tmp_path)) for _ in range(3)]
    assert [files.root.name for files in runs] == [
        "my-digits-20261231T235959Z-abcdef01",
        "my-digits-20270101T000000Z-abcdef01",
        "my-digits-20270101T000001Z-abcdef01",
    ]
    for files in runs:
        script = f"cd {files.root}\n"
        assert files.job_script.read_text() == script
        companions = json.loads(files.manifest.read_text())["companions"]
        assert companions["job.sh"] == hashlib.sha256(script.encode()).hexdigest()
    assert sorted(tmp_path.iterdir()) == [files.root for files in runs]


def test_what_is_wrong_with_the_folder_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file\n")
    with pytest.raises(Trouble, match="cannot be written: Not a directory"):
        write_run(plan_in(tmp_path / "out"))
