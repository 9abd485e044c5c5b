"""Folders of a run that its owner keeps to himself are as good as gone, and it is said why"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, Tuple

import pytest

from manifests.record.run_files import RunFiles
from tests.accounts import WITHOUT_RIGHTS
from tests.manifests.cli.verbs.conftest import PROJECT
from tests.manifests.run_states import with_states

DENIED = "cannot be read: Permission denied"


@contextmanager
def closed(folder: Path) -> Iterator[None]:
    folder.chmod(0)
    try:
        yield
    finally:
        folder.chmod(0o755)


def said(run: RunFiles, *words: object) -> Tuple[int, str]:
    """Exit code and all that is printed of a verb called by another account."""
    done = subprocess.run(
        [*WITHOUT_RIGHTS, sys.executable, str(PROJECT / "bundle.py"), *map(str, words)],
        cwd=run.root.parent, env={**os.environ, "BUNDLE_CACHE": str(run.root.parent / "cache")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    text = done.stdout + done.stderr
    assert "see to the file system" not in text and "internal error" not in text, text
    return done.returncode, text


@pytest.fixture
def run(finished_run: RunFiles) -> RunFiles:
    finished_run.logs.mkdir(exist_ok=True)
    (finished_run.logs / "stdout.log").write_text("a row\n")
    return with_states(finished_run)


def test_states(run: RunFiles) -> None:
    with closed(run.checkpoints):
        assert said(run, "status", run.root)[0] == 0
        assert said(run, "show", run.root)[0] == 0
        assert f"results/checkpoints: {DENIED}\n" in said(run, "verify", run.root, "--no-data")[1]
        assert said(run, "export", run.root, "-o", "a.tar") == (
            2,
            f"bundle: {run.checkpoints}: {DENIED}\n"
            "-> ask its owner for a copy of the run, or leave the states out: --states none\n",
        )
        assert said(run, "export", run.root, "-o", "a.tar", "--states", "none")[0] == 0


def test_results(run: RunFiles) -> None:
    with closed(run.checkpoints.parent):
        code, text = said(run, "compare", run.root, run.root)
        assert (code, f"{run.trail_of(0)}: {DENIED}" in text) == (3, True)
        assert said(run, "status", run.root)[0] == 0


def test_logs(run: RunFiles) -> None:
    with closed(run.logs):
        assert said(run, "logs", run.root) == (
            2, f"bundle: {run.logs}/stdout.log: {DENIED}\n-> ask its owner for a copy\n",
        )  # fmt: skip


def test_a_log_that_is_gone_is_not_left_out_in_silence(run: RunFiles) -> None:
    run.log.unlink()
    code, text = said(run, "export", run.root, "-o", "a.tar")
    assert (code, text) == (
        2,
        "bundle: results/log.jsonl: does not exist\n-> see all that differs: "
        f"{text.rpartition('differs: ')[2]}",
    )
    assert not (run.root.parent / "a.tar").exists()
