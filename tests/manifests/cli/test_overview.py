"""What the reading verbs show of damaged runs: a row, a warning, and all the other runs."""

from __future__ import annotations

import json
import os
import pwd
import shutil
from pathlib import Path
from typing import Any, Dict, List

import pytest

from container.progress import Silent
from container.trouble import Trouble
from jobtemplates.backend import QueueEntry
from manifests.cli import overview
from manifests.cli.overview import last_row, list_rows, rows_of, status_rows
from manifests.cli.run_page import show_lines
from manifests.host.context import HostContext, read_host_context, user_name
from manifests.record.run_files import RunFiles
from manifests.rundir.directory import create_run, summary_of
from manifests.verdict.run_record import load_record
from tests.records import write_manifest

ROW = '{"epoch": 1, "iteration": 12, "main/loss": 0.5}\n'


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HostContext:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return read_host_context(tmp_path, Silent())


def make(out: Path, name: str, job: str) -> RunFiles:
    def fill(files: RunFiles) -> None:
        write_manifest(files)
        files.results.mkdir()
        files.log.write_text(ROW)
        files.job.write_text(job)

    return create_run(out, name, fill)


def test_one_damaged_run_is_a_row(tmp_path: Path, host: HostContext) -> None:
    out = tmp_path / "out"
    job = {"version": "1.0", "backend": "local", "id": "1.1", "host": "far", "submitted": ""}
    good = make(out, "a-20260131T235958Z-01234567", json.dumps(job))
    bad = make(out, "b-20260131T235958Z-01234567", json.dumps({**job, "id": "x"}))
    ended = make(out, "c-20260131T235958Z-01234567", "[")
    ended.exit_code.write_text("1\n")
    warnings: List[str] = []
    rows = list_rows([out], host, warnings.append)
    assert [(row["run"], row["state"], row["job"], row["loss"]) for row in rows] == [
        (str(good.root), "unknown", "1.1", 0.5),
        (str(bad.root), "damaged", None, 0.5),
        (str(ended.root), "damaged", None, 0.5),
    ]
    assert warnings == [
        f"{bad.job}: id: found 'x', expected PID.START",
        f"{ended.job}, line 1, column 2: is not JSON: Expecting value",
    ]
    warnings.clear()
    rows = status_rows([bad.root, good.root], host, warnings.append)
    assert [row["state"] for row in rows] == ["damaged", "unknown"]
    assert warnings == [f"{bad.job}: id: found 'x', expected PID.START"]


def test_a_run_that_is_removed_meanwhile_is_left_out(tmp_path: Path) -> None:
    files = make(tmp_path, "a-20260131T235958Z-01234567", "{}")
    os.utime(files.outline, (1, 1))  # the manifest is looked at
    job = {"version": "1.0", "backend": "local", "id": "1.1", "host": "far", "submitted": ""}
    kept = make(tmp_path, "b-20260131T235958Z-01234567", json.dumps(job))

    def remove(found: RunFiles) -> QueueEntry:
        shutil.rmtree(files.root, ignore_errors=True)
        return QueueEntry("running" if found is kept else "unknown")

    runs = [
        summary_of(files, remove, pytest.fail),
        summary_of(kept, remove, pytest.fail),
    ]
    rows = rows_of(runs, pytest.fail)
    assert [row["run"] for row in rows] == [str(kept.root)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (ROW, 12),
        (ROW + '{"iteration": 2', 12),
        (ROW + '{"iteration": 2\n', 12),
        (ROW + "[1]\n", 12),
        (ROW + "\0\n", 12),
        ("7\n", None),
        ("", None),
    ],
)
def test_last_row_of_a_damaged_log(tmp_path: Path, text: str, found: Any) -> None:
    (tmp_path / "log").write_text(text)
    assert last_row(tmp_path / "log").get("iteration") == found


def edit(path: Path, changes: Dict[str, Any]) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_newer_records_are_shown_with_a_warning(finished_run: RunFiles, host: HostContext) -> None:
    for path in (finished_run.manifest, finished_run.result, finished_run.job):
        edit(path, {"version": "1.7", "new": 1})
    newer = "version 1.7 is newer than 1.3: fields it added are kept, not used"
    warnings: List[str] = []
    assert show_lines(finished_run.root, host, warnings.append)[1] == "state      done"
    assert warnings == [f"{finished_run.manifest}: {newer}", f"{finished_run.result}: {newer}"]


@pytest.mark.parametrize("loss", ["nonsense", "0x1p+99999", ""])
def test_a_trail_with_an_impossible_loss(finished_run: RunFiles, loss: str) -> None:
    path = finished_run.trail_of(1)
    first, rest = path.read_text().split("\n", 1)
    path.write_text(json.dumps({**json.loads(first), "loss": loss}) + "\n" + rest)
    record = load_record(finished_run)
    assert record.trail is None
    assert record.faults == [f"{path}, line 1: is not a trail record"]


@pytest.mark.parametrize("error", [KeyError, OSError])
def test_an_account_without_a_name(monkeypatch: pytest.MonkeyPatch, error: Any) -> None:
    def nobody(uid: int) -> str:
        raise error(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    assert user_name() == f"uid {os.getuid()}"


def test_the_account_is_not_what_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """After sudo or su another account may be named there: its list of jobs shows none of ours."""
    name = pwd.getpwuid(os.getuid()).pw_name
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(variable, "another")
    assert user_name() == name


def test_a_known_out_that_cannot_be_read_hides_no_other(
    tmp_path: Path, host: HostContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that has gone since it was looked for is left out; one that was asked for is Trouble."""
    closed, gone = tmp_path / "closed", tmp_path / "gone"
    closed.mkdir()

    def list_runs(out: Path, *_rest: object) -> List[object]:
        if out in (closed, gone):
            raise Trouble(f"{out}: cannot be read: no matter why", "give another")
        return [out]

    monkeypatch.setattr(overview, "list_runs", list_runs)
    monkeypatch.setattr(overview, "known_outs", lambda _cache: [closed, gone, tmp_path])
    warnings: List[str] = []
    found: List[object] = list(overview.runs_below([], host, warnings.append))
    assert found == [tmp_path]
    assert warnings == [f"{closed}: cannot be read: no matter why; its runs are not shown"]
    with pytest.raises(Trouble, match=f"^{gone}: cannot be read: no matter why"):
        overview.runs_below([gone], host, warnings.append)
