"""Run directories appear whole or not at all; killed ones are swept; all are found and listed."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import List, Optional

import pytest

from container.trouble import Trouble
from jobtemplates.backend import JobState, QueueEntry
from manifests.record.run_files import RunFiles
from manifests.rundir.directory import create_run, find_run, list_runs, run_name
from manifests.rundir.job import Job, read_job
from manifests.rundir.records import read_result
from manifests.rundir.run_state import State, run_state

PROJECT = Path(__file__).resolve().parents[3]
NAME = "digits-20260131T235958Z-01234567"


def fill(files: RunFiles) -> None:
    files.inputs.mkdir()
    files.manifest.write_text("{}")


def test_name() -> None:
    created = datetime(2026, 1, 31, 23, 59, 58, tzinfo=timezone.utc)
    assert run_name("digits", created, "0123456789abcdef") == NAME


def test_whole(tmp_path: Path) -> None:
    out = tmp_path / "a" / "o u't"
    files = create_run(out, NAME, fill)
    assert files.root == out / NAME
    assert files.manifest.read_text() == "{}"
    assert [path.name for path in out.iterdir()] == [NAME]


def test_or_not_at_all(tmp_path: Path) -> None:
    def interrupted(files: RunFiles) -> None:
        fill(files)
        (files.root / "code").mkdir()
        (files.root / "code" / "a").write_text("a")
        (files.root / "code" / "a").chmod(0o444)
        raise KeyboardInterrupt

    for out in (tmp_path, tmp_path / "a" / "b"):
        with pytest.raises(KeyboardInterrupt):
            create_run(out, NAME, interrupted)
        assert list(tmp_path.iterdir()) == []


def test_folders_that_were_there_stay(tmp_path: Path) -> None:
    def broken(files: RunFiles) -> None:
        (tmp_path / "a" / "b" / "theirs").write_text("")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        create_run(tmp_path / "a" / "b" / "c", NAME, broken)
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["theirs"]


def test_taken_name(tmp_path: Path) -> None:
    create_run(tmp_path, NAME, fill)
    with pytest.raises(Trouble) as caught:
        create_run(tmp_path, NAME, fill)
    message = f"{tmp_path}/{NAME}: exists already\n-> wait a second and submit again"
    assert str(caught.value) == message

    def meanwhile(files: RunFiles) -> None:
        fill(files)
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "x").write_text("")

    with pytest.raises(Trouble) as caught:
        create_run(tmp_path, "other", meanwhile)
    assert caught.value.problems == [f"{tmp_path}/other: exists already"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [NAME, "other"]


@pytest.mark.parametrize("below", ["", "deeper/still"])
def test_out_below_a_file(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("mine")
    out = tmp_path / "file" / below
    with pytest.raises(Trouble) as caught:
        create_run(out, NAME, fill)
    assert str(caught.value) == (
        f"{out}: cannot be written: Not a directory\n-> choose a folder that you may write as `out`"
    )
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_out_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(Trouble) as caught:
        create_run(tmp_path / "out", NAME, fill)
    assert str(caught.value) == (
        f"{tmp_path}/out: cannot be written: Permission denied\n"
        "-> choose a folder that you may write as `out`"
    )


def test_full_disk(tmp_path: Path) -> None:
    def full(files: RunFiles) -> None:
        fill(files)
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(Trouble) as caught:
        create_run(tmp_path, NAME, full)
    assert str(caught.value) == (
        f"{tmp_path}: cannot be written: No space left on device\n"
        "-> free some space, or choose another folder as `out`"
    )
    assert list(tmp_path.iterdir()) == []


def test_other_faults_are_not_hidden(tmp_path: Path) -> None:
    def broken(files: RunFiles) -> None:
        (tmp_path.parent / "nowhere" / "x").read_text()

    with pytest.raises(FileNotFoundError):
        create_run(tmp_path, NAME, broken)
    assert list(tmp_path.iterdir()) == []


FILLING = """
import sys, time
from pathlib import Path
from manifests.rundir.directory import create_run
def fill(files):
    (files.root / "half").write_text("half")
    print("filling", flush=True)
    time.sleep(600)
create_run(Path(sys.argv[1]), "killed", fill)
"""


def test_leftovers_of_killed_processes_are_swept(tmp_path: Path) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", FILLING, str(tmp_path)], cwd=PROJECT, stdout=subprocess.PIPE
    )
    assert writer.stdout is not None
    with writer.stdout:
        writer.stdout.readline()
        here = socket.gethostname()
        foreign = [f".partial-another.host+{2**22 + 1}-x", f".partial-{here}-2+{2**22 + 1}-x"]
        for name in foreign:
            (tmp_path / name).mkdir()
        create_run(tmp_path, "first", fill)
        assert len(list(tmp_path.iterdir())) == 4, "a living one is left alone"
        writer.kill()
        writer.wait()
    create_run(tmp_path, "second", fill)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == sorted([*foreign, "first", "second"])


MANY = """
import sys
from pathlib import Path
from manifests.rundir.directory import create_run
def fill(files):
    (files.root / "code").mkdir()
    (files.root / "manifest.json").write_text("{}")
for number in range(int(sys.argv[3])):
    create_run(Path(sys.argv[1]), f"{sys.argv[2]}-{number}", fill)
"""


def test_processes_that_make_runs_at_once_leave_each_other_alone(tmp_path: Path) -> None:
    count = 100
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", MANY, str(tmp_path), str(name), str(count)],
            cwd=PROJECT, stderr=subprocess.PIPE,
        )
        for name in range(6)
    ]  # fmt: skip
    outcomes = [(process.communicate()[1], process.returncode) for process in processes]
    assert outcomes == [(b"", 0)] * 6
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        f"{name}-{number}" for name in range(6) for number in range(count)
    )
    assert len(list(tmp_path.glob("*/manifest.json"))) == 6 * count


def test_found_by_directory_and_by_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = create_run(tmp_path, NAME, fill)
    assert find_run(str(files.root)).root == files.root
    assert find_run(files.manifest).root == files.root
    monkeypatch.chdir(tmp_path)
    assert find_run(NAME).root == files.root
    for text, problem in (
        (f"{tmp_path}/no", "does not exist"),
        (str(tmp_path), "is not a run directory: it holds no manifest.json"),
    ):
        with pytest.raises(Trouble) as caught:
            find_run(text)
        assert str(caught.value) == (
            f"{text}: {problem}\n-> give a run directory or its manifest.json"
        )


def test_list_of_many_is_fast(tmp_path: Path) -> None:
    for number in range(1000):
        root = tmp_path / f"job-{number % 7}-20260131T{number:06d}Z-0123abcd"
        root.mkdir()
        (root / "manifest.json").write_text("{}")
        for name in ("result.json", "DONE") if number % 2 else ("job.json",):
            (root / name).write_text("{}")
    (tmp_path / ".partial-h-1-x").mkdir()
    (tmp_path / "notes").mkdir()
    begun = time.process_time()
    runs = list_runs(tmp_path)
    assert time.process_time() - begun < 2
    assert len(runs) == 1000
    first = runs[0]
    assert (first.jobname, first.created, first.identity, first.state) == (
        "job-0", "20260131T000000Z", "0123abcd", "unknown",
    )  # fmt: skip
    assert runs[1].state == "done"
    running = QueueEntry("running")
    assert {run.state for run in list_runs(tmp_path, lambda _files: running)} == {"running", "done"}


def test_of_a_run_that_is_removed_while_it_is_listed_nothing_is_said(tmp_path: Path) -> None:
    root = tmp_path / "job-20260131T000000Z-0123abcd"
    root.mkdir()
    for name in ("manifest.json", "job.json"):
        (root / name).write_text("{}")
    said: List[str] = []

    def job_of(files: RunFiles) -> QueueEntry:
        shutil.rmtree(files.root)
        read_result(files)
        raise AssertionError("it was there")

    assert [run.state for run in list_runs(tmp_path, job_of, said.append)] == ["damaged"]
    assert said == []  # and whoever shows rows leaves it out (manifests.cli.overview.rows_of)


def test_list_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(Trouble) as caught:
        list_runs(tmp_path / "no")
    assert str(caught.value) == (
        f"{tmp_path}/no: cannot be read: No such file or directory\n"
        "-> give the `out` folder of your runs"
    )


@pytest.mark.parametrize(
    ("present", "code", "job", "state"),
    [
        ("", None, "unknown", "prepared"),
        ("job.json", None, "running", "running"),
        ("job.json", None, "queued", "queued"),
        ("job.json", None, "unknown", "unknown"),
        ("job.json", None, "vanished", "unknown"),
        ("job.json", None, "ended", "failed"),
        ("job.json interrupted", None, "vanished", "failed"),
        ("job.json interrupted", None, "unknown", "unknown"),
        ("job.json interrupted", None, "queued", "queued"),  # put into its queue again
        ("job.json failure.json", None, "running", "failed"),
        ("job.json exit_code", 3, "running", "failed"),
        ("job.json exit_code", 0, "ended", "failed"),
        ("job.json exit_code", 0, "vanished", "failed"),
        ("job.json exit_code DONE result.json", 0, "ended", "done"),
        ("job.json DONE result.json", None, "running", "done"),
        ("job.json exit_code DONE result.json", 1, "ended", "failed"),
        ("job.json DONE", None, "ended", "failed"),
        ("job.json exit_code stopped.json", 75, "ended", "stopped"),
        ("job.json exit_code stopped.json", 75, "vanished", "stopped"),
        ("job.json exit_code stopped.json", 75, "queued", "queued"),
        ("job.json exit_code stopped.json", 75, "running", "running"),
    ],
)
def test_state(present: str, code: Optional[int], job: JobState, state: State) -> None:
    assert run_state(set(present.split()), code, job) == state


def test_a_chained_run_that_stopped_may_go_on_where_nothing_is_known_of_its_jobs() -> None:
    present = {"job.json", "exit_code", "stopped.json"}
    assert run_state(present, 75, "unknown", chained=True) == "unknown"
    assert run_state(present, 75, "vanished", chained=True) == "stopped"
    assert run_state(present, 75, "unknown") == "stopped"


@pytest.mark.parametrize(
    ("present", "code", "job", "chained", "state"),
    [
        ("job.json", None, "running", False, "running"),
        ("job.json", None, "queued", True, "queued"),
        ("job.json", None, "ended", False, "cancelled"),
        ("job.json", None, "vanished", True, "cancelled"),
        ("job.json", None, "unknown", False, "unknown"),
        ("job.json exit_code failure.json", 143, "unknown", False, "cancelled"),
        ("job.json exit_code stopped.json", 75, "unknown", False, "cancelled"),
        ("job.json exit_code stopped.json", 75, "unknown", True, "unknown"),
        ("job.json exit_code stopped.json", 75, "ended", True, "cancelled"),
        ("job.json exit_code DONE result.json", 0, "ended", False, "done"),
    ],
)
def test_a_run_that_a_person_cancelled(
    present: str, code: Optional[int], job: JobState, chained: bool, state: State
) -> None:
    names = {*present.split(), "cancelled.json"}
    assert run_state(names, code, job, chained=chained) == state


def test_job(tmp_path: Path) -> None:
    files = RunFiles(tmp_path)
    assert read_job(files) is None
    job = Job(backend="local", id="12.345", host="h", submitted="2026-01-31T23:59:58Z")
    files.job.write_text(job.model_dump_json())
    assert read_job(files) == job


@pytest.mark.parametrize("text", ["12", "12.x", ".", "12.3\n", "-1.2", "1" * 5000 + ".1"])
def test_job_with_an_impossible_id(tmp_path: Path, text: str) -> None:
    files = RunFiles(tmp_path)
    job = {"version": "1.0", "backend": "local", "id": text, "host": "h", "submitted": ""}
    files.job.write_text(json.dumps(job))
    with pytest.raises(Trouble) as caught:
        read_job(files)
    assert str(caught.value) == (
        f"{files.job}: id: found {text[:60]!r}, expected PID.START\n"
        "-> restore the file from a copy of the run directory"
    )
    files.job.write_text(json.dumps({**job, "backend": "of-a-newer-bundle"}))
    assert read_job(files) is not None


@pytest.mark.parametrize(
    ("backend", "text", "expected"),
    [
        ("slurm", "-1", "a number above 0"),
        ("slurm", "0", "a number above 0"),
        ("gridengine", "3;rm", "a number above 0"),
        ("pbs", "3.a b", "NUMBER.SERVER"),
    ],
)
def test_ids_of_schedulers(tmp_path: Path, backend: str, text: str, expected: str) -> None:
    files = RunFiles(tmp_path)
    job = {"version": "1.0", "backend": backend, "id": "7", "host": "h", "submitted": ""}
    files.job.write_text(json.dumps({**job, "chain": ["8", "9"]}))
    found = read_job(files)
    assert found is not None and found.ids == ["7", "8", "9"]
    files.job.write_text(json.dumps({**job, "chain": ["8", text]}))
    with pytest.raises(Trouble) as caught:
        read_job(files)
    assert caught.value.problems == [f"{files.job}: chain: found {text!r}, expected {expected}"]
