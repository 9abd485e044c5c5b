"""All that one call asks of a scheduler has one time limit, and one warning."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import List, Sequence

import pytest

from container.process import CommandFailed
from container.trouble import Trouble
from manifests.cli.overview import list_rows
from manifests.host.context import HostContext
from manifests.record.run_files import RunFiles
from manifests.record.schema import Placement
from manifests.rundir import questions
from manifests.rundir.questions import Place
from manifests.rundir.submission import refuse_too_many_nodes
from tests.manifests.rundir.test_queue import Fakes, fakes, host, job
from tests.records import write_manifest
from tests.waiting import PATIENCE

__all__ = ["fakes", "host"]

EMPTY = "<job_info><queue_info></queue_info><job_info></job_info></job_info>"


def gone(tmp_path: Path, backend: str, count: int) -> None:
    for number in range(count):
        files = RunFiles(tmp_path / "out" / f"a{number}-20260102T030405Z-abcdef01")
        files.root.mkdir(parents=True)
        write_manifest(files)
        job(files, backend, id=str(7 + number))


def slow(fakes: Fakes, name: str) -> None:
    (fakes.folder / name).write_text(
        f"#!/bin/bash\necho {name} >>{fakes.folder}/calls\nsleep 300\n"
    )


def test_one_limit_for_all_questions_after_jobs_that_left_the_queue(
    tmp_path: Path, host: HostContext, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions, "PATIENCE", 5.0)
    gone(tmp_path, "gridengine", 6)
    fakes.says("qstat", EMPTY)
    slow(fakes, "qacct")
    warnings: List[str] = []
    begun = time.monotonic()
    rows = list_rows([tmp_path / "out"], host, warnings.append)
    assert time.monotonic() - begun < PATIENCE
    assert {(row["state"], row["why"]) for row in rows} == {
        ("unknown", "Grid Engine knows no such job any more")
    }
    assert fakes.calls().count("qacct") == 1
    assert warnings == [
        "Grid Engine does not answer: qacct and the questions before it did not end within 5 s; "
        "how jobs that left its queue ended is not known"
    ]


def test_answers_that_are_slow_count_together(
    tmp_path: Path, host: HostContext, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock of the test's own: each answer takes 1.1 s."""
    monkeypatch.setattr(questions, "PATIENCE", 3.0)
    gone(tmp_path, "gridengine", 9)
    fakes.says("qstat", EMPTY)
    fakes.says("qacct", "failed 0\nexit_status 1")
    now, real = [0.0], questions.ask

    def ask(place: Place, argv: Sequence[str], host: HostContext, timeout: float) -> str:
        if argv[0] == "qacct":
            now[0] += min(1.1, timeout)
            if timeout < 1.1:
                raise CommandFailed(argv, None, None, "", "did not end", timed_out=True)
        return real(place, argv, host, PATIENCE)

    monkeypatch.setattr(questions, "ask", ask)
    monkeypatch.setattr(questions, "time", SimpleNamespace(monotonic=lambda: now[0]))
    warnings: List[str] = []
    rows = list_rows([tmp_path / "out"], host, warnings.append)
    states = [row["state"] for row in rows]
    assert (states.count("failed"), states.count("unknown")) == (2, 7)
    assert len(warnings) == 1
    assert [call.split()[0] for call in fakes.calls()].count("qacct") == 2
    assert now == [3.0]


def test_a_scheduler_that_is_slow_delays_no_other(
    tmp_path: Path, host: HostContext, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions, "PATIENCE", 5.0)
    slow(fakes, "qstat")
    gone(tmp_path, "gridengine", 2)
    files = RunFiles(tmp_path / "out" / "b-20260102T030405Z-abcdef01")
    files.root.mkdir()
    write_manifest(files)
    job(files, "slurm", id="1")
    fakes.says("squeue", "1|RUNNING|None\n")
    warnings: List[str] = []
    rows = list_rows([tmp_path / "out"], host, warnings.append)
    assert [row["state"] for row in rows] == ["unknown", "unknown", "running"]
    assert warnings == [
        "Grid Engine does not answer: qstat did not end within 5 s; "
        "the state of its jobs is not known"
    ]


def test_a_scheduler_that_hangs_gets_no_job(
    tmp_path: Path, host: HostContext, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions, "PATIENCE", 0.3)
    slow(fakes, "sinfo")
    with pytest.raises(Trouble) as caught:
        refuse_too_many_nodes(Placement(site="kite", jobname="x", scheduler="slurm"), 1, host)
    assert str(caught.value) == (
        "Slurm does not answer: sinfo did not end within 0.3 s\n"
        "-> nothing was submitted; try again when it answers (doctor --site asks it)"
    )
