"""A run with a damaged record is called damaged by `list`, `status` and `show` alike, with why."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Callable, Dict

import pytest

from manifests.record.run_files import RunFiles
from manifests.rundir.outline import write_outline
from manifests.rundir.records import read_manifest
from tests.manifests.cli.verbs.conftest import Called

Call = Callable[..., Called]
RESTORE = "-> restore the file from a copy of the run directory"


@pytest.fixture
def run(finished_run: RunFiles) -> RunFiles:
    """With an outline, as `submit` writes it after the manifest."""
    write_outline(finished_run, read_manifest(finished_run))
    files = (finished_run.manifest, finished_run.outline, finished_run.result, finished_run.done)
    for age, path in enumerate(reversed(files)):
        os.utime(path, (1e9 - age, 1e9 - age))
    return finished_run


def cut(path: Path) -> None:
    path.write_text(path.read_text()[:300])


def newer(path: Path) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": "9.0"}))


@pytest.mark.parametrize("record", ["manifest", "result"])
@pytest.mark.parametrize(
    ("act", "said", "next_step"),
    [
        (lambda path: path.write_text(""), ", line 1, column 1: is not JSON: ", RESTORE),
        (lambda path: path.write_bytes(bytes(path.stat().st_size)), ", line 1, column 1", RESTORE),
        (lambda path: path.write_text("[]"), ": is not a JSON object", RESTORE),
        (cut, ": is not JSON: ", RESTORE),
        (newer, ": version 9.0 is not known: this bundle reads version 1.x",
         "-> read it with a bundle of that version"),
    ],
    ids=["empty", "zeros", "list", "cut", "newer"],
)  # fmt: skip
def test_all_verbs_agree(
    called: Call, run: RunFiles, record: str, act: Callable[[Path], object], said: str,
    next_step: str,
) -> None:  # fmt: skip
    path = getattr(run, record)
    act(path)
    listed = called("list", "--json")
    (row,) = json.loads(listed.stdout)
    assert row["state"] == "damaged"
    warning = listed.stderr
    assert warning.startswith(f"bundle: warning: {path}")
    assert said in warning and warning.count("\n") == 1
    for words in (("status",), ("status", run.root), ("list",)):
        shown = called(*words)
        assert "damaged" in shown.stdout
        assert shown.stderr == warning
    shown = called("show", run.root, code=2)
    assert shown.stdout == ""
    assert shown.stderr == f"{warning.replace('warning: ', '')}{next_step}\n"


def test_a_run_whose_records_are_whole_is_done(called: Call, run: RunFiles) -> None:
    for path in (run.manifest, run.result):  # written again, or copied without its times
        os.utime(path)
    listed = called("list", "--json")
    assert [row["state"] for row in json.loads(listed.stdout)] == ["done"]
    assert listed.stderr == ""


@pytest.mark.parametrize(
    "change",
    [{"walltime": "soon"}, {"steps": 10**400}, {"steps": -5}, {"batch": 10**400}],
    ids=ascii,
)
def test_an_impossible_outline_counts_as_none(
    called: Call, run: RunFiles, change: Dict[str, Any]
) -> None:
    before = called("status", run.root, "--json").stdout
    run.outline.write_text(json.dumps({**json.loads(run.outline.read_text()), **change}))
    shown = called("status", run.root, "--json")
    assert json.loads(shown.stdout)[0]["steps"] == json.loads(before)[0]["steps"]
    assert shown.stderr == ""


def test_a_run_without_outline_is_known_by_its_manifest(
    called: Call, finished_run: RunFiles
) -> None:
    finished_run.manifest.write_text("{")
    listed = called("list", "--json")
    assert [row["state"] for row in json.loads(listed.stdout)] == ["damaged"]
    assert listed.stderr.startswith(f"bundle: warning: {finished_run.manifest}, line 1, column 2: ")
