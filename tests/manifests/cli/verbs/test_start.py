"""What a start of the command line leaves undone, because it takes as long as the verb itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import List

import pytest

from manifests.record.run_files import RunFiles
from tests.manifests.cli.verbs.conftest import PROJECT

FULL = "bundle: No space left on device\n-> see to the file system, then try again\n"

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


@pytest.mark.parametrize("verb", ["list", "status", "show"])
@pytest.mark.parametrize(
    ("streams", "code", "said"),
    [
        (">&-", 0, ""),
        ("<&- >&-", 0, ""),
        (">&- 2>&-", 0, ""),
        (">/dev/full", 2, FULL),
    ],
)  # fmt: skip
def test_output_that_is_closed_or_full(
    finished_run: RunFiles, tmp_path: Path, verb: str, streams: str, code: int, said: str
) -> None:
    what = finished_run.root.parent if verb == "list" else finished_run.root
    line = f'exec "$0" "$1" "$2" "$3" {streams}'
    done = subprocess.run(
        ["sh", "-c", line, sys.executable, str(PROJECT / "bundle.py"), verb, str(what)],
        env={**os.environ, "BUNDLE_CACHE": str(tmp_path / "cache")},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (code, said)


@pytest.mark.parametrize("words", [["lst"], ["show", "none"], ["list", "--help"]])
def test_a_pipe_that_nobody_reads(tmp_path: Path, words: List[str]) -> None:
    """Exit code 1 would mean that a run has diverged."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as pipe:
        done = subprocess.run(
            [sys.executable, str(PROJECT / "bundle.py"), *words],
            env={**os.environ, "BUNDLE_CACHE": str(tmp_path)},
            stdout=pipe,
            stderr=pipe,
            check=False,
        )
    assert done.returncode == 141


def test_findings_into_a_pipe_that_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    from manifests.cli.bars import say_findings

    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as pipe:
        monkeypatch.setattr("sys.stdout", pipe)
        with pytest.raises(BrokenPipeError):
            say_findings([("ok", "a finding", "")])
        os.dup2(os.open(os.devnull, os.O_WRONLY), pipe.fileno())
