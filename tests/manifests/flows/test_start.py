"""A run whose job cannot be started, or not be recorded, leaves nothing behind."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any, List

import pytest

from container import atomic
from container.cache import Cache
from container.trouble import Trouble
from jobtemplates import local
from jobtemplates.backend import QueueEntry
from manifests.cli.overview import list_rows
from manifests.flows import start
from manifests.flows.follow import Waiting, exit_code_of, follow
from manifests.flows.start import start_new, start_run
from manifests.host.context import HostContext
from manifests.record.run_files import RunFiles
from manifests.rundir.known_outs import known_outs, remember_out
from tests.manifests.rundir.test_queue import Fakes, fakes, host, job, prepared
from tests.waiting import PATIENCE

__all__ = ["fakes", "host"]

NEXT = "free some space or get the right to write there, then try again"


def full(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The disk is full when a file of this name is written."""
    real = atomic.write_json

    def write(target: Path, value: Any) -> None:
        if target.name == name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        real(target, value)

    monkeypatch.setattr(atomic, "write_json", write)


def test_a_job_that_cannot_be_recorded_is_cancelled(
    tmp_path: Path, host: HostContext, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = prepared(tmp_path, "slurm")
    fakes.says("sbatch", "7\n")
    full(monkeypatch, "job.json")
    with pytest.raises(Trouble) as caught:
        start_new(files, host)
    assert str(caught.value) == (
        f"{files.job}: cannot be written: No space left on device; its job 7 was cancelled\n"
        f"-> {NEXT}"
    )
    assert fakes.calls()[-1] == "scancel 7"
    assert list(files.root.parent.iterdir()) == []


def test_a_job_that_can_be_neither_recorded_nor_cancelled(
    tmp_path: Path, host: HostContext, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = prepared(tmp_path, "slurm")
    fakes.says("sbatch", "7\n")
    fakes.fails("scancel", "no\n")
    full(monkeypatch, "job.json")
    with pytest.raises(Trouble) as caught:
        start_new(files, host)
    assert str(caught.value) == (
        f"{files.job}: cannot be written: No space left on device; job 7 was started\n"
        f"-> end job 7, free some space, then: python bundle.py resume {files.root}"
    )
    assert files.submitting.exists()


def test_a_local_job_that_cannot_be_recorded_is_ended(
    tmp_path: Path, host: HostContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = prepared(tmp_path, "local")
    files.job_script.write_text("exec sleep 600\n")
    begun: List[str] = []
    real = local.start

    def noted(*values: Any) -> str:
        begun.append(real(*values))
        return begun[0]

    monkeypatch.setattr(local, "start", noted)
    full(monkeypatch, "job.json")
    with pytest.raises(Trouble, match=r"No space left on device; its job .* was cancelled"):
        start_new(files, host)
    assert local.wait_until_gone(begun[0], PATIENCE)
    assert list(files.root.parent.iterdir()) == []


def test_no_room_for_the_note_before_the_job(
    tmp_path: Path, host: HostContext, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = prepared(tmp_path, "slurm")
    full(monkeypatch, "submitting")
    with pytest.raises(Trouble) as caught:
        start_new(files, host)
    assert str(caught.value) == (
        f"{files.submitting}: cannot be written: No space left on device\n-> {NEXT}"
    )
    assert fakes.calls() == []
    assert list(files.root.parent.iterdir()) == []


def test_a_local_job_without_a_place_for_its_output(tmp_path: Path, host: HostContext) -> None:
    files = prepared(tmp_path, "local")
    files.job_script.write_text("true\n")
    (files.logs / "start.log").mkdir()
    with pytest.raises(Trouble) as caught:
        start_new(files, host)
    log = files.logs / "start.log"
    assert str(caught.value) == f"{log}: cannot be written: Is a directory\n-> {NEXT}"
    assert list(files.root.parent.iterdir()) == []


def test_a_full_disk_leaves_a_resumed_run_as_it_was(
    tmp_path: Path, host: HostContext, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = prepared(tmp_path, "slurm")
    job(files, "slurm", id="5")
    files.exit_code.write_text("75\n")
    files.stopped.write_text("{}")
    before = {path: path.read_bytes() for path in files.root.rglob("*") if path.is_file()}
    fakes.says("sbatch", "7\n")
    full(monkeypatch, "job.json")
    with pytest.raises(Trouble):
        start_run(files, host)
    assert {path: path.read_bytes() for path in files.root.rglob("*") if path.is_file()} == before


def test_marks_of_an_earlier_job_are_gone_when_the_new_one_is_started(
    tmp_path: Path, host: HostContext, fakes: Fakes
) -> None:
    files = prepared(tmp_path, "slurm")
    for mark in (files.exit_code, files.failure, files.stopped):
        mark.write_text("{}")
    fakes.says("sbatch", "7\n")
    start_run(files, host)
    assert sorted(path.name for path in files.root.iterdir()) == [
        "job.json",
        "logs",
        "manifest.json",
    ]
    assert start.set_aside(files) == {}


def test_a_folder_of_logs_that_was_removed_is_made_again(
    tmp_path: Path, host: HostContext, fakes: Fakes
) -> None:
    files = prepared(tmp_path, "slurm")
    files.logs.rmdir()
    fakes.says("sbatch", "7\n")
    start_run(files, host)
    assert files.logs.is_dir()


# --- what only remembers --------------------------------------------------------------------


def test_a_folder_that_cannot_be_remembered_is_a_warning(tmp_path: Path) -> None:
    warnings: List[str] = []
    (tmp_path / "file").write_text("")
    remember_out(Cache(tmp_path / "file"), tmp_path, warnings.append)
    (warning,) = warnings
    assert warning.startswith(f"{tmp_path}/file/outs/")
    assert warning.endswith(
        f": cannot be written: Not a directory; `list` shows these runs by: list {tmp_path}"
    )


def test_notes_that_cannot_be_read_count_as_none(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    remember_out(cache, tmp_path)
    (cache.root / "outs" / "abad").mkdir()
    (cache.root / "outs" / "aempty").write_text("")
    assert known_outs(cache) == [tmp_path]


# --- the end ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "why"),
    [
        ("", "the job ended without leaving its exit code: it was killed"),
        ("137", "the job was ended from outside: a rank was ended by SIGKILL (often: no memory "
                "was left)"),
        ("143", "the job was ended from outside: a rank was ended by SIGTERM"),
        ("0", "the job was ended from outside, before its ranks were done"),
        ("205", "the job was ended from outside: its launcher was ended, or lost ranks or a node "
                "(status 205)"),
    ],
)  # fmt: skip
def test_a_job_that_was_ended_from_outside(
    tmp_path: Path, host: HostContext, fakes: Fakes, monkeypatch: pytest.MonkeyPatch, left: str,
    why: str,
) -> None:  # fmt: skip
    monkeypatch.setattr("jobtemplates.slurm.Slurm.slow_files", 0.0)
    files = prepared(tmp_path, "slurm")
    job(files, "slurm")
    if left:
        files.interrupted.write_text(f"{left}\n")
    fakes.says("squeue", "7|NODE_FAIL|NodeDown\n")
    fakes.says("scontrol", "JobId=7 JobState=NODE_FAIL ExitCode=0:0\n")
    with pytest.raises(Trouble) as caught:
        exit_code_of(files, host)
    assert str(caught.value) == (
        f"{files.root}: {why} (slurm: NODE_FAIL)\n"
        f"-> look into {files.logs}, then: python bundle.py resume {files.root}"
    )
    (row,) = list_rows([files.root.parent], host)
    said = "Slurm: NODE_FAIL"
    assert (row["state"], row["why"]) == ("failed", f"{why}; {said}" if left else said)


# --- waiting --------------------------------------------------------------------------------


def test_what_is_said_while_a_job_is_waited_for() -> None:
    said: List[str] = []
    waiting = Waiting(said.append)
    for state, why in (
        ("running", ""), ("queued", ""), ("queued", ""), ("queued", "Eqw: see qstat -j 7"),
        ("unknown", "Slurm does not answer: down"), ("running", ""), ("running", ""),
        ("running", "suspended"),
    ):  # fmt: skip
        waiting(QueueEntry(state, why, "7"))  # type: ignore[arg-type]
    assert said == [
        "job 7: queued",
        "job 7: queued: Eqw: see qstat -j 7",
        "job 7: unknown: Slurm does not answer: down",
        "job 7: running",
        "job 7: running: suspended",
    ]


def test_following_a_job_that_is_held(
    tmp_path: Path, host: HostContext, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobtemplates.slurm.Slurm.ask_seconds", 0.0)
    files = prepared(tmp_path, "slurm")
    job(files, "slurm")
    answers = tmp_path / "answers"
    answers.write_text("7|PENDING|JobHeldUser\n7|PENDING|Priority\n7|RUNNING|None\n")
    (fakes.folder / "squeue").write_text(
        f"#!/bin/bash\nhead -1 {answers}\nsed -i 1d {answers}\n"
        f"[ -s {answers} ] || echo 'epoch 1' >{files.logs}/stdout.log\n"
    )
    fakes.fails("scontrol", "no\n")
    said: List[str] = []
    lines = list(follow(files, "stdout", host, say=said.append))
    assert lines == ["epoch 1"]
    assert said == ["job 7: queued: JobHeldUser", "job 7: queued", "job 7: running"]


def test_nothing_is_said_of_a_job_of_this_host(
    tmp_path: Path, host: HostContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("manifests.flows.follow.SILENT_SECONDS", PATIENCE)
    files = prepared(tmp_path, "local")
    files.job_script.write_text(f"echo hello >{files.logs}/stdout.log\nsleep 0.5\n")
    start_run(files, host)
    said: List[str] = []
    assert list(follow(files, "stdout", host, say=said.append)) == ["hello"]
    assert said == []
    assert isinstance(files, RunFiles)


def test_a_job_that_prints_nothing_is_said_to_start_and_then_to_work() -> None:
    said: list[str] = []
    now = [0.0]
    waiting = Waiting(said.append, clock=lambda: now[0])
    for now[0], ready, heard in (
        (1.0, False, False), (2.5, False, False), (5.0, False, False), (6.0, True, True),
        (7.0, True, False), (8.5, True, False), (99.0, True, False),
    ):  # fmt: skip
        waiting.silent("7", ready=ready, heard=heard)
    assert said == [
        "job 7: the image and its ranks start",
        "job 7: its ranks work; a row of the log follows each epoch",
    ]
