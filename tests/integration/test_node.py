"""Nodes that lack what MPI needs: each job says so, and leaves no empty logs."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.integration.conftest import Bench

pytestmark = pytest.mark.image


def only_run(bench: Bench) -> Path:
    (run,) = bench.out.iterdir()
    return run


@pytest.mark.parametrize("iterator", ["thread", "process"])
def test_full_shared_memory(bench: Bench, iterator: str) -> None:
    full = (
        "mount --make-rprivate / && mount -t tmpfs -o size=1m tmpfs /dev/shm || exit 99; "
        'head -c 1048576 /dev/zero >/dev/shm/left; exec "$@"'
    )
    probe = ["unshare", "-m", "bash", "-c", full, "x"]
    if subprocess.run([*probe, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no private mount can be made here")
    config = bench.config(iterator=iterator)
    done = bench.bundle("submit", "--wait", config, prefix=probe, code=2)
    node = os.uname().nodename
    said = f"the shared memory /dev/shm of {node} has 0.0 MB free, MPI needs 4.5 MB\n-> remove what"
    assert said in done.stderr
    assert said in (only_run(bench) / "logs" / "stderr.log").read_text()


def test_few_descriptors(bench: Bench) -> None:
    limited = ["bash", "-c", 'ulimit -n 40 && exec "$@"', "x"]
    done = bench.bundle("submit", "--wait", bench.config(), prefix=limited, code=2)
    said = (
        f"bundle: a process on {os.uname().nodename} may open 40 files, mpirun needs 97\n"
        "-> raise the limit of open files there (ulimit -n)\n"
    )
    assert said in done.stderr
    assert (only_run(bench) / "logs" / "stderr.log").read_text() == said


def test_a_low_soft_limit_is_raised(bench: Bench) -> None:
    limited = ["bash", "-c", 'ulimit -S -n 40 && exec "$@"', "x"]
    bench.bundle("submit", "--wait", bench.config(iterator="process"), prefix=limited)


def test_ranks_that_end_without_a_word(bench: Bench) -> None:
    """An mpirun in the place of the host's: it ends as MPI does where it cannot start."""
    folder = bench.root / "bin"
    folder.mkdir()
    mpirun = folder / "mpirun"
    mpirun.write_text(
        f'#!/bin/bash\n[ "$1" != --version ] || exec {shutil.which("mpirun")} --version\nexit 1\n'
    )
    mpirun.chmod(0o755)
    bench.environment["PATH"] = f"{folder}:{os.environ['PATH']}"
    bench.bundle("submit", "--wait", bench.config(), code=1)
    said = (only_run(bench) / "logs" / "stderr.log").read_text()
    assert said.endswith(
        "bundle: the ranks ended with status 1, and none of them could say why\n"
        "-> look at their nodes: memory (137 is a kill), room in /dev/shm and TMPDIR, ulimit -n\n"
    )
