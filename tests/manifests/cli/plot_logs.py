"""Logs of runs for figures: rows made by hand, and what tests change of a run"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List

from manifests.record.run_files import RunFiles
from manifests.report.curves import PANELS

PROJECT = Path(__file__).resolve().parents[3]
RESTORE = "restore the file from a copy of the run directory"


def row(steps: int, **changes: Any) -> Dict[str, Any]:
    columns = [name for pair in PANELS.values() for name in pair]
    values = {name: place / 10 + steps / 100 for place, name in enumerate(columns)}
    return {"epoch": 1, "iteration": steps, **values, **changes}


def write_log(files: RunFiles, rows: List[Any], rest: str = "") -> None:
    files.log.write_text("".join(json.dumps(row) + "\n" for row in rows) + rest)


def edit(files: RunFiles, change: Callable[[Dict[str, Any]], object]) -> None:
    """Change the identity as it stands in the manifest."""
    manifest = json.loads(files.manifest.read_text())
    change(manifest["identity"])
    files.manifest.write_text(json.dumps(manifest))


def copy_of(run: RunFiles, name: str) -> RunFiles:
    shutil.copytree(run.root, run.root.parent / name)
    return RunFiles(run.root.parent / name)


def everything(folder: Path) -> List[Path]:
    return sorted(folder.rglob("*"))


def call(run: RunFiles, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`bundle.py plot` from a folder and a home of its own, without a display."""
    place = run.root.parent.parent
    for name in ("home", "cwd"):
        (place / name).mkdir(exist_ok=True)
    kept = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "XDG_CACHE_HOME")}
    folders = {"HOME": str(place / "home"), "BUNDLE_CACHE": str(place / "cache")}
    return subprocess.run(
        [sys.executable, str(PROJECT / "bundle.py"), "plot", *arguments],
        cwd=place / "cwd",
        env={**kept, **folders, **environment},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
