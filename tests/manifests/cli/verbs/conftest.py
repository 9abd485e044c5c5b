"""The command line called from outside, with a cache of the test's own."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict

import pytest

PROJECT = Path(__file__).resolve().parents[4]


@dataclass
class CommandLine:
    """``folder`` is where it is called; runs below ``folder/out`` are known as submitted."""

    folder: Path
    environment: Dict[str, str] = field(default_factory=dict)

    def know(self, *outs: Path) -> None:
        notes = self.folder / "cache" / "outs"
        notes.mkdir(parents=True, exist_ok=True)
        for number, out in enumerate(outs):
            (notes / f"{number:016x}").write_text(f"{out}\n")

    def __call__(self, *arguments: Any, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-X", "utf8", str(PROJECT / "bundle.py"), *map(str, arguments)],
            cwd=self.folder,
            env={
                **os.environ,
                "BUNDLE_CACHE": str(self.folder / "cache"),
                "TZ": "Asia/Tokyo",
                **self.environment,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        return done


@pytest.fixture
def bundle(tmp_path: Path) -> CommandLine:
    line = CommandLine(tmp_path)
    line.know(tmp_path / "out")
    return line
