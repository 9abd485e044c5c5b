"""How the image starts is found out once on a host: a rerun, and its dry run, start it no more"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.integration.conftest import PROJECT, Bench
from tests.integration.test_launch import own_cache

pytestmark = [pytest.mark.image]


def test_a_rerun_does_not_try_the_image_again(bench: Bench, tmp_path: Path) -> None:
    """In a cache of its own: others forget how an image starts, when many ways are known."""
    own_cache(bench)
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
    run = bench.submit(bench.config())  # tries it, for the wrapper is a program of its own
    before = started.read_text()
    assert before
    bench.bundle("rerun", "--dry-run", run)
    bench.bundle("submit", "--dry-run", bench.config())
    assert started.read_text() == before
