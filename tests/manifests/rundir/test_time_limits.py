"""All that one call asks of a scheduler has one time limit, and one warning."""

from __future__ import annotations

import time
from pathlib import Path
from typing import List

import pytest

from container.trouble import Trouble
from manifests.cli.overview import list_rows
from manifests.host.context import HostContext
from manifests.record.run_files import RunFiles
from manifests.record.schema import Placement
from manifests.rundir import questions
from manifests.rundir.submission import refuse_too_many_nodes
from tests.manifests.rundir.test_queue import Fakes, fakes, host, job
from tests.records import write_manifest

__all__ = ["fakes", "host"]

EMPTY = "<job_info><queue_info></queue_info><job_info></job_info></job_info>"


def gone(tmp_path: Path, backend: str, count: int) -> None:
    for number in range(count):
        files = RunFiles(tmp_path / "out" / f"a{number}-20260102T030405Z-abcdef01")
        files.root.mkdir(parents=True)
        write_manifest(files)
        job(files, backend, id=str(7 + number))


def slow(fakes: Fakes, name: str, seconds: float, text: str = "") -> None:
    (fakes.folder / name).write_text(
        f"#!/bin/bash\necho {name} >>{fakes.folder}/calls\nsleep {seconds}\necho '{text}'\n"
    )


def test_one_limit_for_all_questions_after_jobs_that_left_the_queue(
    tmp_path: Path, host: HostContext, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions, "PATIENCE", 2.0)
    gone(tmp_path, "gridengine", 6)
    fakes.says("qstat", EMPTY)
    slow(fakes, "qacct", 60)
    warnings: List[str] = []
    begun = time.monotonic()
    rows = list_rows([tmp_path / "out"], host, warnings.append)
    assert time.monotonic() - begun < 6
    assert {(row["state"], row["why"]) for row in rows} == {
        ("unknown", "Grid Engine knows no such job any more")
    }
    assert fakes.calls().count("qacct") == 1
    assert warnings == [
        "Grid Engine does not answer: qacct and the questions before it did not end within 2 s; "
        "how jobs that left its queue ended is not known"
    ]


def test_answers_that_are_slow_count_together(
    tmp_path: Path, host: HostContext, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions, "PATIENCE", 3.0)
    gone(tmp_path, "gridengine", 9)
    fakes.says("qstat", EMPTY)
    slow(fakes, "qacct", 1.1, "failed 0\nexit_status 1")
    warnings: List[str] = []
    begun = time.monotonic()
    rows = list_rows([tmp_path / "out"], host, warnings.append)
    assert time.monotonic() - begun < 8
    states = [row["state"] for row in rows]
    assert "failed" in states and "unknown" in states
    assert len(warnings) == 1
    assert len(fakes.calls()) < 9


def test_a_scheduler_that_is_slow_delays_no_other(
    tmp_path: Path, host: HostContext, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions, "PATIENCE", 1.5)
    slow(fakes, "qstat", 60)
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
        "Grid Engine does not answer: qstat did not end within 1.5 s; "
        "the state of its jobs is not known"
    ]


def test_a_scheduler_that_hangs_gets_no_job(
    tmp_path: Path, host: HostContext, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions, "PATIENCE", 0.3)
    slow(fakes, "sinfo", 60)
    with pytest.raises(Trouble) as caught:
        refuse_too_many_nodes(Placement(site="kite", jobname="x", scheduler="slurm"), 1, host)
    assert str(caught.value) == (
        "Slurm does not answer: sinfo did not end within 0.3 s\n"
        "-> nothing was submitted; try again when it answers (doctor --site asks it)"
    )
