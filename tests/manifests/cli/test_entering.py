"""How the command line enters the project's own Python."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[3]


def test_packages_that_a_cluster_s_modules_bring_are_not_imported(tmp_path: Path) -> None:
    """PYTHONPATH of a module would hide the packages that were pinned, in workers too."""
    foreign, images = tmp_path / "foreign", tmp_path / "images"
    foreign.mkdir()
    images.mkdir()
    for name in ("click", "pydantic", "yaml", "numpy", "PIL", "simplejpeg"):
        (foreign / f"{name}.py").write_text(f"raise ImportError('{name} of another Python')\n")
    (images / "0.jpg").write_bytes(b"no image")
    done = subprocess.run(
        [sys.executable, str(PROJECT / "bundle.py"), "data", "crop", str(images), "cropped"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(foreign), "PYTHONWARNINGS": "error"},
    )  # fmt: skip
    assert done.returncode == 2
    assert "0.jpg: is not an image" in done.stderr
    assert "Error" not in done.stderr
