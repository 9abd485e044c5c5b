"""A host for flows that start nothing."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from pathlib import Path

import pytest

from container.cache import Cache
from container.progress import Silent
from manifests.host.context import HostContext


@pytest.fixture
def host(tmp_path: Path) -> HostContext:
    """With the image of `finished_run` in its cache."""
    (tmp_path / "cache" / "images").mkdir(parents=True)
    (tmp_path / "cache" / "images" / "cpu-x.sif").write_bytes(b"image")
    return HostContext(
        project=tmp_path, cache=Cache(tmp_path / "cache"), environ={"PATH": os.defpath},
        now=lambda: datetime(2026, 1, 31, tzinfo=timezone.utc), hostname="here", user="me",
        as_root=False, cpu_features=frozenset(), cores=1, progress=Silent(),
    )  # fmt: skip
