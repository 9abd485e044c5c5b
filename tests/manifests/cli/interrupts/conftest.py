from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Iterator, List

import pytest

from jobtemplates import local
from manifests.record.run_files import RunFiles
from tests.manifests.cli.interrupts.fake_slurm import Slurm
from tests.manifests.cli.interrupts.probe import job_id


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[Slurm]:
    made = Slurm(tmp_path / "tools")
    yield made
    made.lets_go()


@pytest.fixture
def environment(tmp_path: Path, slurm: Slurm) -> dict[str, str]:
    profiles = tmp_path / "config" / "bundle" / "sites"
    profiles.mkdir(parents=True)
    values = {"name": "kite", "description": "d", "scheduler": "slurm"}
    (profiles / "kite.yaml").write_text(json.dumps(values))
    return {
        **os.environ, "PATH": f"{slurm.folder}:{os.environ['PATH']}",
        "XDG_CONFIG_HOME": str(tmp_path / "config"), "BUNDLE_CACHE": str(tmp_path / "cache"),
        "BUNDLE_CALLED": "python bundle.py",
    }  # fmt: skip


@pytest.fixture
def living() -> Iterator[List[RunFiles]]:
    """Runs whose local jobs are ended after the test."""
    runs: List[RunFiles] = []
    yield runs
    for files in runs:
        if files.job.exists():
            local.cancel(job_id(files), grace=0)
