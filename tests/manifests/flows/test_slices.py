"""Folders of slices: found, gathered by one process at a time, slices of other runs refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from container.trouble import Trouble
from manifests.flows.slices import found_slices, only_gatherer, read_slices, verdict_on
from manifests.record.run_files import RunFiles
from manifests.record.slice_set import SliceSet
from tests.manifests.run_states import with_states


@pytest.fixture
def run(finished_run: RunFiles) -> RunFiles:
    return with_states(finished_run)


def as_slice(run: RunFiles, target: Path, begin: int, end: int, **identity: Any) -> RunFiles:
    shutil.copytree(run.root, target)
    files = RunFiles(target)
    raw = json.loads(files.manifest.read_text())
    raw["circumstance"]["slice"] = {"begin": begin, "after": begin, "end": end}
    raw.update(identity)
    files.manifest.write_text(json.dumps(raw))
    return files


def test_slices_are_found_by_their_steps(run: RunFiles, tmp_path: Path) -> None:
    folder = tmp_path / "slices"
    folder.mkdir()
    (folder / "slices.json").write_text("{}")
    (folder / "something").mkdir()
    first = as_slice(run, folder / "a", 0, 4)
    as_slice(run, folder / "b", 0, 4)
    last = as_slice(run, folder / "c", 4, 12)
    found = found_slices(folder)
    assert {steps: files.root for steps, files in found.items()} == {
        (0, 4): first.root,
        (4, 12): last.root,
    }


def test_one_process_gathers_at_a_time(tmp_path: Path) -> None:
    with only_gatherer(tmp_path):
        with pytest.raises(Trouble) as caught, only_gatherer(tmp_path):
            pass
        assert caught.value.problems == [f"{tmp_path}: is being gathered by another process"]
    with only_gatherer(tmp_path):
        pass


def test_a_damaged_record_of_slices_is_named(tmp_path: Path) -> None:
    (tmp_path / "slices.json").write_text("[]")
    with pytest.raises(Trouble) as caught:
        read_slices(tmp_path)
    assert caught.value.problems == [f"{tmp_path}/slices.json: is not a JSON object"]
    record = SliceSet(
        run="r", identity_digest="1" * 64, steps=4, slices=[(0, 4)], of=1, created="now"
    )
    (tmp_path / "slices.json").write_text(record.model_dump_json())
    assert read_slices(tmp_path) == record


def test_what_is_no_slice_of_the_run_is_refused(run: RunFiles, tmp_path: Path) -> None:
    other = as_slice(run, tmp_path / "other", 0, 4, identity_digest="9" * 64)
    with pytest.raises(Trouble) as caught:
        verdict_on(run.root, [run.root, other.root])
    assert (caught.value.problems, caught.value.next_step) == (
        [
            f"{run.root}: is not a slice",
            f"{other.root}: is a slice of a run of another identity",
        ],
        "give slices of this run, made by rerun --from-step --to-step",
    )
    assert not other.verdict.exists()
