"""What a start of the command line leaves undone, because it takes as long as the verb itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from manifests.record.run_files import RunFiles
from tests.manifests.cli.verbs.conftest import PROJECT

SHOW = """
import gc, runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit:
    pass
print(sum(generation["collections"] for generation in gc.get_stats()))
"""


def test_show_does_not_look_for_garbage(finished_run: RunFiles, tmp_path: Path) -> None:
    words = [str(PROJECT / "bundle.py"), "show", str(finished_run.root)]
    done = subprocess.run(
        [sys.executable, "-E", "-s", "-X", "utf8", "-c", SHOW, *words],
        env={**os.environ, "BUNDLE_CACHE": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "state " in done.stdout
    assert int(done.stdout.split()[-1]) < 40
