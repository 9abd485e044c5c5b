"""`status --watch` in a terminal of 80x24 beside a real Grid Engine: what runs and what waits"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Dict, Iterator, List

import pytest

from manifests.cli.text_cells import width_of
from manifests.cli.watching import SECONDS
from tests.integration.clusters import Cluster, started
from tests.integration.conftest import PROJECT
from tests.terminal import Terminal, needs_tmux

pytestmark = [pytest.mark.image, pytest.mark.long]

#: Which command lists the queue, and which would ask for one job.
QUESTIONS = {"slurm": ("squeue", "scontrol"), "gridengine": ("qstat", "qacct")}


@pytest.fixture(scope="module", params=["gridengine"])
def cluster(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    image: str,
    data_template: Path,
) -> Iterator[Cluster]:
    del image
    with started(request.param, tmp_path_factory.mktemp(request.param), data_template) as cluster:
        yield cluster


def counting(cluster: Cluster, folder: Path) -> Dict[str, str]:
    """An environment in which each question to the scheduler leaves a line in ``folder/asked``."""
    environment = {**os.environ, **cluster.bench.environment}
    for name in QUESTIONS[cluster.scheduler]:
        real = shutil.which(name, path=environment["PATH"])
        assert real is not None
        command = folder / name
        command.write_text(f'#!/bin/sh\necho {name} "$@" >>{folder}/asked\nexec {real} "$@"\n')
        command.chmod(0o755)
    return {**cluster.bench.environment, "PATH": f"{folder}:{environment['PATH']}"}


def asked(folder: Path) -> List[str]:
    return (folder / "asked").read_text().splitlines()


@needs_tmux
def test_runs_in_a_queue(cluster: Cluster) -> None:
    whole = {"ranks_per_node": 2, "epoch": 2000, "trail_interval": 100}  # all processors there are
    first = cluster.start(cluster.config("first", **whole, checkpoint_interval=20))
    waiting = [cluster.start(cluster.config(name, **whole)) for name in ("second", "third")]
    folder = Path(tempfile.mkdtemp(prefix="live-"))  # the path of a socket must be short
    shell = Terminal(folder, 80, 24, **counting(cluster, folder))
    try:
        cluster.wait_for_state(first, "running")
        watch_them(cluster, shell, folder, [first, *waiting])
    finally:
        shell("kill-server")
        shutil.rmtree(folder)
        for run in (*waiting, first):
            cluster.bench.bundle("cancel", run)
    for run in (first, *waiting):
        cluster.wait_for_state(run, "cancelled")


def watch_them(cluster: Cluster, shell: Terminal, folder: Path, runs: List[Path]) -> None:
    program = [sys.executable, "-X", "utf8", str(PROJECT / "bundle.py"), "status", "--watch"]
    shell.say("stty -g >before; echo kept")
    shell.wait(lambda text: "\nkept" in text)
    before = shell.state()
    shell.say(shlex.join([*program, *map(str, runs)]) + "; echo code $?")
    text = shell.wait(
        lambda text: text.count(" queued ") == 2 and "images/s" in text,
    )
    assert all(width_of(line) <= 80 for line in text.splitlines())
    assert len(text.splitlines()) == 24
    assert all(f"job {cluster.jobs(run)[0]}" in text for run in runs)
    step = next(line.split() for line in text.splitlines() if " running " in line)
    shell.wait(lambda text: "checkpoint after step" in text)
    count, begun = len(asked(folder)), time.monotonic()
    shell.wait(lambda text: step != moved(text))
    time.sleep(2 * SECONDS)
    looks = (time.monotonic() - begun) / SECONDS
    questions = asked(folder)[count:]
    listing = QUESTIONS[cluster.scheduler][0]
    assert {line.split()[0] for line in questions} == {listing}, questions
    assert 1 <= len(questions) <= looks + 1, questions
    shell.press("Enter")
    text = shell.wait(lambda text: "esc list" in text)
    assert text.splitlines()[1].strip() == runs[0].name and "loss over steps" in text
    shell.press("Escape")
    shell.wait(lambda text: "enter look" in text)
    print(shell.screen())
    shell.press("q")
    shell.wait(lambda text: "code 0" in text)
    assert shell.state() == before
    shell.say("stty -g >after; cmp before after && echo same")
    shell.wait(lambda text: "\nsame" in text)


def moved(text: str) -> List[str]:
    return next((line.split() for line in text.splitlines() if " running " in line), [])
