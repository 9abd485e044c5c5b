"""Runs and targets of which no figure can be made: one message, and nothing is left behind."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, Dict

import pytest

from container.trouble import Trouble
from manifests.cli.plot import plot_runs
from manifests.record.run_files import RunFiles
from tests.manifests.cli.plot_logs import RESTORE, call, copy_of, everything, row


def contents(place: Path) -> Dict[Path, Any]:
    """Everything but matplotlib's cache, which is not a trace of a run."""
    paths = [path for path in everything(place) if place / "cache" not in (path, *path.parents)]
    return {path: path.read_bytes() if path.is_file() else None for path in paths}


def refused(run: RunFiles, *arguments: str) -> str:
    """What plot says when it refuses; nothing may be left behind."""
    place = run.root.parent.parent
    call(run, "--help")  # makes home and cwd
    before = contents(place)
    done = call(run, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert contents(place) == before
    return done.stderr


@pytest.mark.parametrize(
    ("name", "found"),
    [("figure.gif", "has the suffix .gif"), ("figure", "has no suffix")],
)
def test_a_suffix_that_is_no_kind_of_figure(run: RunFiles, name: str, found: str) -> None:
    target = run.root.parent / name
    assert refused(run, str(run.root), "-o", str(target)) == (
        f"bundle: {target}: {found}\n-> end the name with one of .pdf, .png, .svg\n"
    )


@pytest.mark.parametrize("log", [None, "", '{"epoch": 1, "iter'])
def test_no_row_yet(run: RunFiles, log: Any) -> None:
    run.log.unlink()
    if log is not None:
        run.log.write_text(log)
    assert refused(run, str(run.root)) == (
        f"bundle: {run.root}: has no row in its log yet; one is written at the end of each epoch\n"
        f"-> see how far it is: python bundle.py status {run.root}\n"
    )


@pytest.mark.parametrize(
    "line",
    [
        "{", "", "7", "[1]", '"text"', "{}", '{"iteration": 0}', '{"iteration": "3"}',
        '{"iteration": true}', '{"iteration": 1, "main/loss": "0.5"}',
        '{"iteration": 1, "main/loss": null}', '{"iteration": 1, "main/loss": false}',
        '{"iteration": 1, "main/loss": ' + "9" * 400 + "}", "\0", "[" * 100000,
    ],
)  # fmt: skip
def test_a_damaged_log(run: RunFiles, line: str) -> None:
    run.log.write_text(f"{json.dumps(row(1))}\n{line}\n{json.dumps(row(3))}\n")
    with pytest.raises(Trouble) as caught:
        plot_runs([run.root], None, run.root / "cache")
    assert str(caught.value) == f"{run.log}, line 2: is not a valid log row\n-> {RESTORE}"
    assert not run.plot.exists()


def test_a_log_that_cannot_be_read(run: RunFiles) -> None:
    run.log.unlink()
    run.log.mkdir()
    assert refused(run, str(run.root)) == (
        f"bundle: {run.log}: cannot be read: Is a directory\n-> {RESTORE}\n"
    )


def test_all_runs_that_cannot_be_drawn_are_told_at_once(run: RunFiles) -> None:
    damaged, young = copy_of(run, "damaged"), copy_of(run, "young")
    damaged.log.write_text("x\n")
    young.log.unlink()
    none = run.root.parent / "none"
    target = run.root.parent / "all.pdf"
    runs = [str(files) for files in (run.root, damaged.root, none, young.root)]
    assert refused(run, *runs, "-o", str(target)) == (
        f"bundle: {damaged.log}, line 1: is not a valid log row\n"
        f"{none}: does not exist\n"
        f"{young.root}: has no row in its log yet; one is written at the end of each epoch\n"
        f"-> {RESTORE}\n"
        "-> give a run directory or its manifest.json\n"
        f"-> see how far it is: python bundle.py status {young.root}\n"
    )


def test_a_run_without_a_row_is_left_out(run: RunFiles) -> None:
    young, target = copy_of(run, "young"), run.root.parent / "all.svg"
    young.log.unlink()
    done = call(run, str(young.root), str(run.root), "-o", str(target))
    assert (done.returncode, done.stdout) == (0, f"{target}\n")
    assert done.stderr == (
        f"bundle: warning: {young.root}: has no row in its log yet; one is written at the end of "
        "each epoch; it is left out\n"
    )
    assert target.exists()


def test_several_runs_need_a_name_for_their_figure(run: RunFiles) -> None:
    other = copy_of(run, "other")
    assert refused(run, str(run.root), str(other.root)) == (
        "bundle: a figure of 2 runs lies in none of them\n-> say where with -o FILE\n"
    )


def test_a_target_that_cannot_be_written(run: RunFiles) -> None:
    assert refused(run, str(run.root), "-o", "/proc/new/figure.png") == (
        "bundle: /proc/new/figure.png: cannot be written: No such file or directory\n"
        "-> name another file\n"
    )
    assert refused(run, str(run.root), "-o", "/proc/figure.png") == (
        "bundle: /proc/figure.png: cannot be written: No such file or directory\n"
        "-> name another file\n"
    )


def test_the_folder_of_the_figure_is_made(run: RunFiles) -> None:
    target = run.root.parent / "new" / "folder" / "a.png"
    done = call(run, str(run.root), "-o", str(target))
    assert (done.returncode, done.stderr) == (0, "")
    assert target.is_file()


def test_matplotlib_is_missing(run: RunFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(Trouble) as caught:
        plot_runs([run.root], None, run.root / "cache")
    assert str(caught.value) == (
        "matplotlib cannot be imported: import of matplotlib halted; None in sys.modules\n"
        "-> run: make setup"
    )
    assert "MPLBACKEND" not in os.environ
