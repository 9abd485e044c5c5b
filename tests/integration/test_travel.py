"""A run in one file, in an account that has nothing, on a machine without a network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Dict, List

import pytest

from tests.integration.conftest import PROJECT, Bench

pytestmark = [pytest.mark.image, pytest.mark.slow, pytest.mark.long]

#: A network namespace of its own: no interface but loopback, which is down.
ALONE = ["unshare", "-n"] if os.geteuid() == 0 else ["unshare", "-rn"]


def alone(home: Path, *words: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    """The command line with a home folder that was just made, and no network."""
    environment: Dict[str, str] = {
        "HOME": str(home), "PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LANG": "C.UTF-8",
    }  # fmt: skip
    done = subprocess.run(
        [*ALONE, sys.executable, str(PROJECT / "bundle.py"), *map(str, words)],
        cwd=home, env=environment, capture_output=True, text=True, check=False, timeout=900,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def fresh(root: Path) -> Path:
    home = root / "a fresh home"
    home.mkdir(parents=True)
    seen = subprocess.run(
        [*ALONE, "cat", "/proc/net/dev"], capture_output=True, text=True, check=True
    ).stdout
    assert [line.split(":")[0].strip() for line in seen.splitlines()[2:]] == ["lo"]
    return home


def only_run(folder: Path) -> Path:
    (run,) = (path for path in folder.iterdir() if not path.name.startswith("."))
    return run


def test_image_and_data_travel(finished: tuple[Bench, Path], tmp_path: Path, image: str) -> None:
    bench, run = finished
    file = tmp_path / "run.tar"
    bench.bundle("export", run, "-o", file, "--with", "image", "--with", "data")
    home = fresh(tmp_path)
    alone(home, "import", file, home / "runs")
    placed = only_run(home / "runs")
    away = bench.data.rename(bench.root / "away")
    try:
        assert alone(home, "verify", placed).stdout == "verified: nothing differs\n"
        done = alone(home, "rerun", placed)
    finally:
        away.rename(bench.data)
    assert "verdict: identical\n" in done.stdout
    again = json.loads((newest(home / "runs") / "manifest.json").read_text())
    assert again["circumstance"]["paths"]["image"] == str(placed / "image.sif")
    assert again["identity"]["image"]["sha256"] == image
    assert not (home / ".cache" / "bundle" / "images").exists()


def newest(folder: Path) -> Path:
    runs: List[Path] = sorted(folder.iterdir(), key=lambda path: path.name)
    return runs[-1]


def test_the_image_is_built_from_packages_that_travel(
    finished: tuple[Bench, Path], tmp_path: Path, image: str
) -> None:
    bench, run = finished
    file = tmp_path / "run.tar"
    bench.bundle("export", run, "-o", file, "--with", "packages", "--with", "data")
    home = fresh(tmp_path)
    alone(home, "import", file, home / "runs")
    placed = only_run(home / "runs")
    manifest = json.loads((placed / "manifest.json").read_text())
    manifest["circumstance"]["paths"]["image"] = "/no/such/image.sif"
    (placed / "manifest.json").write_text(json.dumps(manifest))
    done = alone(home, "rerun", placed)
    assert "building it again from the manifest's recipe" in done.stderr
    assert "verdict: identical\n" in done.stdout
    (built,) = (home / ".cache" / "bundle" / "images").glob("cpu-*.sif")
    assert json.loads(built.with_suffix(".json").read_text())["sha256"] == image
    # Without the packages it is said what is missing, and nothing is left half-made.
    built.unlink()
    for stored in (home / ".cache" / "bundle" / "sha256").glob("*/*"):
        stored.unlink()
    victim = next(iter(sorted((placed / "packages").glob("*.deb"))))
    victim.write_bytes(b"x")
    done = alone(home, "rerun", placed, code=2)
    assert done.stdout.startswith("verdict: cannot-run\n") and victim.name in done.stdout
    assert list((home / ".cache" / "bundle" / "images").glob("*.sif")) == []
