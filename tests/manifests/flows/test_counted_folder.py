"""Nothing is written where each file of a run is counted, whichever verb was asked to."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Tuple

import pytest

from manifests.cli.plot import plot_runs
from manifests.flows.attest import plan_statements
from manifests.flows.describe import describe_run
from manifests.flows.import_run import import_run
from manifests.host.context import HostContext
from manifests.record.run_files import RunFiles
from manifests.report.write import write_report
from manifests.rundir.counted_folder import refuse_counted
from manifests.rundir.directory import refuse_unwritable
from tests.exports import exported, tree, trouble_of

Write = Callable[[RunFiles, Path, HostContext, Path], Any]

WRITERS: Tuple[Tuple[Write, str, str], ...] = (
    (lambda run, place, host, _file: exported(run, place, host), "a.tar",
     "name another file: -o FILE"),
    (lambda _run, place, host, file: import_run(file, place, host), "",
     "name another folder: import FILE DIR"),
    (lambda run, place, host, _file: write_report([run.root], place, host), "a.html",
     "name another file with -o"),
    (lambda run, place, _host, file: plot_runs([run.root], place, file.parent), "a.png",
     "name another file with -o"),
    (lambda run, place, _host, _file: describe_run(run.root, place), "a",
     "name another folder with --out"),
    (lambda run, place, host, _file: plan_statements(run.root, host, out=place), "a",
     "name another folder with --out"),
    (lambda _run, place, _host, _file: refuse_unwritable(place), "a",
     "choose another folder as `out`"),
)  # fmt: skip


@pytest.mark.parametrize(("write", "name", "step"), WRITERS)
@pytest.mark.parametrize("folder", ["code", "inputs", "results"])
def test_every_verb_that_writes(
    finished_run: RunFiles, host: HostContext, tmp_path: Path,
    write: Write, name: str, step: str, folder: str,
) -> None:  # fmt: skip
    """In another run than the one that it is about; export names its own run so already."""
    file = exported(finished_run, tmp_path / "a.tar", host)
    other = RunFiles(tmp_path / "other")
    finished_run.root.rename(other.root)
    imported = import_run(file, finished_run.root.parent, host).files
    assert imported is not None
    place = other.root / folder / name
    before = tree(tmp_path)
    assert trouble_of(write, imported, place, host, file) == (
        [f"{place}: lies in {folder}/ of a run, where every file is counted"],
        step,
    )
    assert tree(tmp_path) == before


def test_folders_of_these_names_elsewhere(finished_run: RunFiles, tmp_path: Path) -> None:
    refuse_counted(tmp_path / "code" / "a", "")
    refuse_counted(finished_run.root / "a.html", "")
    refuse_counted(finished_run.statements, "")
    link = tmp_path / "link"
    link.symlink_to(finished_run.code)
    problems, _ = trouble_of(refuse_counted, link / "a", "")
    assert problems == [f"{link}/a: lies in code/ of a run, where every file is counted"]
