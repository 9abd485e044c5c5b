"""Folders of slices: found, gathered by one process at a time, slices of other runs refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, List

import pytest

from container.progress import Silent
from container.trouble import Trouble
from manifests.flows.gathering import Gathering, verdict_on
from manifests.flows.slice_folder import (
    found_slices,
    only_gatherer,
    read_slices,
    refuse_other_set,
)
from manifests.host.context import HostContext, read_host_context
from manifests.record.run_files import RunFiles
from manifests.record.slice_set import SliceSet, drawn
from manifests.rundir.records import read_result
from tests.manifests.run_states import with_states
from tests.manifests.rundir.test_queue import Fakes, fakes, host, job

__all__ = ["fakes", "host"]


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


def test_what_is_neither_a_slice_nor_a_folder_of_slices(run: RunFiles, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(Trouble) as caught:
        verdict_on(run.root, [tmp_path / "nowhere", run.root, tmp_path / "empty"])
    assert (caught.value.problems, caught.value.next_step) == (
        [
            f"--gather {tmp_path}/nowhere: does not exist",
            f"--gather {tmp_path}/empty: is neither a slice nor a folder of slices",
        ],
        "give folders that rerun --slices made, or slices of this run",
    )


def test_samples_of_two_reviewers_are_judged_together(run: RunFiles, tmp_path: Path) -> None:
    """Their folders are opened; a slice that both have is named once more, and does no harm."""
    for name, slices in (("one", [(0, 4), (4, 8)]), ("two", [(4, 8), (8, 12)])):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "slices.json").write_text(sampled(run, 2).model_dump_json())
        for number, (begin, end) in enumerate(slices):
            as_slice(run, folder / f"s{number}", begin, end)
    folders = [tmp_path / "one", tmp_path / "two"]
    together = verdict_on(run.root, folders)
    one_by_one = verdict_on(run.root, [folder / f"s{k}" for folder in folders for k in (0, 1)])
    assert together == one_by_one
    assert together.slices is not None
    assert [(part.begin, part.end) for part in together.slices.parts] == [
        (0, 4), (4, 8), (4, 8), (8, 12),
    ]  # fmt: skip
    assert not [text for text in together.evidence if text.startswith("no slice has")]


def test_a_slice_of_another_run_in_the_folder_is_refused(
    run: RunFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "slices"
    folder.mkdir()
    record = sampled(run, 3)
    (folder / "slices.json").write_text(record.model_dump_json())
    for number, (begin, end) in enumerate(record.slices):
        as_slice(run, folder / f"s{number}", begin, end)
    other = as_slice(run, folder / "s", 4, 8, identity_digest="9" * 64)
    with pytest.raises(Trouble) as caught:
        Gathering(folder, read_host_context(tmp_path, Silent()), print)
    assert (caught.value.problems, caught.value.next_step) == (
        [f"{other.root}: is a slice of a run of another identity"],
        "move it out of the folder, then gather again",
    )


def sampled(run: RunFiles, count: int, seed: str = "z") -> SliceSet:
    """A record of slices drawn from the three that the states of the run allow."""
    result = read_result(run)
    assert result.root is not None
    chosen = [(0, 4), (4, 8), (8, 12)]
    return SliceSet(
        run=str(run.root),
        identity_digest=result.identity_digest,
        root=result.root,
        steps=12,
        slices=[chosen[k] for k in drawn(result.root, seed, 3, count)],
        of=3,
        seed=seed,
        created="now",
    )


def test_why_slices_wait_is_said_once_for_all_that_wait_alike(
    run: RunFiles, tmp_path: Path, host: HostContext, fakes: Fakes
) -> None:
    folder = tmp_path / "slices"
    folder.mkdir()
    record = sampled(run, 3)
    (folder / "slices.json").write_text(record.model_dump_json())
    for number, (begin, end) in enumerate(record.slices, 1):
        one = as_slice(run, folder / f"s{number}", begin, end)
        one.done.unlink()
        one.exit_code.unlink(missing_ok=True)
        job(one, "slurm", id=f"7_{number}")
    said: List[str] = []
    gathering = Gathering(folder, host, said.append, said.append)

    def look(*entries: str) -> List[str]:
        said.clear()
        fakes.says("squeue", "".join(f"7_{n}|{entry}\n" for n, entry in enumerate(entries, 1)))
        assert gathering.look() > 0
        return said[:]

    held, waits = "PENDING|PartitionTimeLimit", "PENDING|Resources"
    assert look(waits, held, held) == ["job 7_2 and 1 more: queued: PartitionTimeLimit"]
    assert look(waits, held, held) == []
    assert look(held, waits, "RUNNING|None") == ["job 7_1: queued: PartitionTimeLimit"]
    fakes.fails("squeue", "down\n")
    silent = "job 7_1 and 2 more: unknown: Slurm does not answer: down"
    assert [gathering.look() > 0, said[1:], gathering.look() > 0, said[1:]] == [
        True, [silent], True, [silent],
    ]  # fmt: skip


def test_slices_that_were_drawn_are_taken_also_where_a_state_is_gone(
    run: RunFiles, tmp_path: Path
) -> None:
    for count in (1, 2, 3):
        refuse_other_set(tmp_path, sampled(run, count), run)
    shutil.rmtree(run.checkpoints)
    refuse_other_set(tmp_path, sampled(run, 2), run)


def test_a_record_of_slices_that_is_not_this_runs_is_refused(run: RunFiles, tmp_path: Path) -> None:
    """A verdict on some steps, or under another root, must not pass for one on the run."""
    record = sampled(run, 2)
    plain = record.model_copy(update={"seed": None})
    draw = "slices are not those that the root and seed z draw"
    rest = [one for one in [(0, 4), (4, 8), (8, 12)] if one not in record.slices]
    for changed, problem in (
        (plain.model_copy(update={"steps": 4}), "steps is 4, the run has 12"),
        (
            plain.model_copy(update={"root": "0" * 64}),
            f"root is {'0' * 64}, the run has {record.root}",
        ),
        (
            plain.model_copy(update={"identity_digest": "9" * 64}),
            f"identity_digest is {'9' * 64}, the run has {record.identity_digest}",
        ),
        (record.model_copy(update={"slices": rest}), draw),
        (record.model_copy(update={"slices": [(0, 8)]}), draw),
        (record.model_copy(update={"of": 30}), draw),
    ):
        with pytest.raises(Trouble) as caught:
            refuse_other_set(tmp_path, changed, run)
        assert (caught.value.problems, caught.value.next_step) == (
            [f"{tmp_path}/slices.json: {problem}"],
            "restore the file from a copy, or check the run anew, without --gather",
        )
