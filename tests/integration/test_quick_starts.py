"""How the image starts is found out once on a host: a rerun, and its dry run, start it no more"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.integration.conftest import PROJECT, Bench

pytestmark = [pytest.mark.image]


def test_a_rerun_does_not_try_the_image_again(finished: tuple[Bench, Path], tmp_path: Path) -> None:
    bench, run = finished
    private = PROJECT / ".tools" / "apptainer" / "usr" / "bin" / "apptainer"
    program = shutil.which("apptainer") or shutil.which("singularity") or str(private)
    started = tmp_path / "started"
    started.touch()
    wrapper = tmp_path / "bin" / "apptainer"
    wrapper.parent.mkdir()
    wrapper.write_text(
        f'#!/bin/sh\ncase "$1" in exec) echo "$@" >>{started} ;; esac\nexec {program} "$@"\n'
    )
    wrapper.chmod(0o755)
    bench.environment["PATH"] = f"{wrapper.parent}{os.pathsep}{os.environ['PATH']}"
    bench.submit(bench.config())  # tries it, for the wrapper is a program of its own
    before = started.read_text()
    assert before
    bench.bundle("rerun", "--dry-run", run)
    bench.bundle("submit", "--dry-run", bench.config())
    assert started.read_text() == before
