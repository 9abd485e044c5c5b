"""What only remembers is a warning where it cannot be written: the run goes on, and is whole."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Iterator

import pytest

from container.cache import Cache, cache_root
from tests.integration.conftest import Bench

pytestmark = [pytest.mark.image]


@pytest.fixture
def cache(bench: Bench, tmp_path: Path) -> Path:
    """A cache of its own with the same images."""
    own = tmp_path / "cache"
    (own / "images").mkdir(parents=True)
    for path in Cache(cache_root(os.environ)).images.glob("cpu-*"):
        (own / "images" / path.name).symlink_to(path.resolve())
    bench.environment["BUNDLE_CACHE"] = str(own)
    return own


def test_nothing_can_be_remembered(bench: Bench, cache: Path) -> None:
    for name in ("outs", "remembered", "fingerprints", "matplotlib"):
        (cache / name).write_text("a file where a folder belongs")
    (cache / "imports.json").mkdir()
    done = bench.bundle("submit", "--wait", bench.config(ranks_per_node=1))
    (run,) = bench.out.iterdir()
    assert (run / "DONE").exists()
    warnings = [line for line in done.stderr.splitlines() if line.startswith("bundle: warning: ")]
    said = "\n".join(warnings)
    assert f"images are not remembered: {cache}/remembered: File exists" in said
    assert f"what ranks import is not remembered: {cache}/imports.json: " in said
    assert f"image digests are not cached: {cache}/fingerprints/" in said
    assert f"{cache}/outs/" in said
    assert sum(str(cache) in line for line in warnings) == 4
    assert len(warnings) == len(set(warnings))
    assert run.name in bench.bundle("list", bench.out).stdout


@pytest.fixture
def full_disk(cache: Path, tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("a small file system needs root")
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("no file system can be mounted here")
    try:
        (small / "images").mkdir()
        for path in (cache / "images").iterdir():
            (small / "images" / path.name).symlink_to(path.resolve())
        with pytest.raises(OSError, match="No space left"):
            (small / "fill").write_bytes(b"0" * 100_000)
        yield small
    finally:
        subprocess.run(["umount", "--lazy", str(small)], check=True)


def test_the_disk_of_the_cache_is_full(bench: Bench, full_disk: Path) -> None:
    bench.environment["BUNDLE_CACHE"] = str(full_disk)
    done = bench.bundle("submit", "--wait", bench.config(ranks_per_node=1))
    (run,) = bench.out.iterdir()
    assert (run / "DONE").exists()
    assert "No space left on device; `list` shows these runs by: list " in done.stderr


def test_the_disk_of_the_runs_is_full(bench: Bench, full_disk: Path) -> None:
    """A submit that fails leaves neither a run nor a job."""
    out = full_disk / "runs"
    done = bench.bundle("submit", bench.config(ranks_per_node=1, out=str(out)), code=2)
    assert "No space left on device\n-> free some space, or choose another folder" in done.stderr
    time.sleep(0.2)
    assert not out.exists() or list(out.iterdir()) == []
