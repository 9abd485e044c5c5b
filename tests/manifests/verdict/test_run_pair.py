"""Runs compared from their files have the verdict that whole records have, whatever is damaged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Callable, Dict

import pytest

from manifests.record.run_files import RunFiles
from manifests.rundir.records import trail_digest
from manifests.verdict.compare import compare, load_record
from manifests.verdict.run_pair import compare_read_runs, read_for_comparison


def with_digest(files: RunFiles) -> None:
    """As if the run itself had left this trail."""
    values = json.loads(files.result.read_text())
    values["digests"]["trail"] = trail_digest(files, 2)
    files.result.write_text(json.dumps(values))


def rewrite(path: Path, edit: Callable[[str], str]) -> None:
    path.write_text(edit(path.read_text()))


def other_loss(files: RunFiles) -> None:
    rewrite(files.trail_of(1), lambda text: text.replace("0x1.8", "0x1.9"))
    with_digest(files)


def nonsense(files: RunFiles) -> None:
    rewrite(files.trail_of(0), lambda text: text.replace('"step":3', '"step":"three"'))
    with_digest(files)


def unfinished(files: RunFiles) -> None:
    files.done.unlink()
    files.result.unlink()
    rewrite(files.trail_of(1), lambda text: text[: 2 * len(text) // 3])


CASES: Dict[str, Callable[[RunFiles], object]] = {
    "equal": lambda files: None,
    "another loss": other_loss,
    "no trail record": nonsense,
    "a missing file": lambda files: files.trail_of(1).unlink(),
    "altered": lambda files: rewrite(files.trail_of(1), lambda text: text.replace("x1.8", "x1.9")),
    "unfinished": unfinished,
}


@pytest.mark.parametrize("case", CASES)
def test_the_verdict_is_that_of_records(finished_run: RunFiles, case: str) -> None:
    other = RunFiles(finished_run.root.parent / "other")
    shutil.copytree(finished_run.root, other.root)
    CASES[case](other)
    for pair in ((finished_run, other), (other, finished_run)):
        found = compare_read_runs(*map(read_for_comparison, pair))
        assert found.comparison == compare(*map(load_record, pair))
        whole = case in ("equal", "another loss", "unfinished")
        assert (found.states is not None) == whole


def test_an_altered_trail_is_said_to_be_altered(finished_run: RunFiles) -> None:
    """Also where what was written into it is no record."""
    other = RunFiles(finished_run.root.parent / "other")
    shutil.copytree(finished_run.root, other.root)
    rewrite(other.trail_of(0), lambda text: text + "nonsense\n")
    found = compare_read_runs(*map(read_for_comparison, (finished_run, other))).comparison
    assert found.verdict == "inconclusive"
    assert any(
        text.startswith(f"{other.root}/results/trail: was altered") for text in found.evidence
    )
