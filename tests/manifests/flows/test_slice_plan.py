"""Which steps of a run can be run alone, from which state; each refusal with its whole message."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, List, Tuple

import pytest

from container.trouble import Trouble
from manifests.flows.cannot_run import CannotRun
from manifests.flows.part_of_run import refuse_other_steps
from manifests.flows.slice_plan import SLICE_CODE, plan_slice, refuse_beyond_slice
from manifests.flows.slices import cuts_for, refuse_sample
from manifests.record.checkpoint import Damaged, damage, read_entries, read_head, steps_digest
from manifests.record.run_files import RunFiles
from manifests.record.schema import Manifest
from manifests.record.states import read_states, state_digest
from manifests.rundir.kept_states import foreign
from manifests.rundir.records import read_manifest
from manifests.rundir.rerun_command import rerun_command
from tests.manifests.run_states import ENTRIES, alter_entry, edit_result, with_states, write_state


@pytest.fixture
def run(finished_run: RunFiles) -> RunFiles:
    return with_states(finished_run)


def plan(run: RunFiles, after: int, end: Any = None) -> Any:
    return plan_slice(run, read_manifest(run), after, end)


def refused(kind: Any, run: RunFiles, *steps: Any) -> Tuple[List[str], str]:
    before = sorted(run.root.parent.rglob("*"))
    with pytest.raises(kind) as caught:
        plan(run, *steps)
    assert sorted(run.root.parent.rglob("*")) == before
    return caught.value.problems, caught.value.next_step


@pytest.mark.parametrize(
    ("after", "end", "begin"), [(0, 4, 0), (4, 8, 4), (7, 8, 4), (8, None, 8), (11, 12, 8)]
)
def test_a_slice_begins_with_the_state_at_or_before(
    run: RunFiles, tmp_path: Path, after: int, end: Any, begin: int
) -> None:
    found = plan(run, after, end)
    assert (found.part.begin, found.part.after, found.part.end) == (begin, after, end or 12)
    assert found.bound and found.ends
    assert (found.needed.val is None) == (found.part.end == 12)
    target = RunFiles(tmp_path / "new")
    found.fill(run, target)
    if begin:
        (copied,) = target.checkpoints.iterdir()
        assert copied.read_bytes() == (run.checkpoints / copied.name).read_bytes()
        assert read_states(target.states) == {begin: read_states(run.states)[begin]}
    else:
        assert not target.root.exists()


def test_a_slice_with_other_parts_adopts_the_state(run: RunFiles, tmp_path: Path) -> None:
    """The arrays are the run's, and so is the digest of the state; the identity is the new one."""
    found, other = plan(run, 4, 8), with_other_seed(run)
    target = RunFiles(tmp_path / "new")
    found.fill(run, target, other)
    (copied,) = target.checkpoints.iterdir()
    original = read_head(run.checkpoints / copied.name)
    head = read_head(copied)
    assert damage(copied) is None
    assert head.identity_digest == other.identity.digest()
    assert foreign(head, target, other) == ""
    assert foreign(original, target, other) == "was made by another run"
    assert state_digest(head) == state_digest(original) == read_states(target.states)[4]
    assert dict(read_entries(copied)) == dict(read_entries(run.checkpoints / copied.name))
    again = RunFiles(tmp_path / "again")
    found.fill(run, again, other)
    assert next(again.checkpoints.iterdir()).read_bytes() == copied.read_bytes()
    alter_entry(run.checkpoints / copied.name, ENTRIES[0], digest_too=False)
    with pytest.raises(Damaged):
        found.fill(run, RunFiles(tmp_path / "bad"), other)


def test_an_older_trainer_counts_its_own_files_in_an_adopted_state(
    run: RunFiles, tmp_path: Path
) -> None:
    """Up to version 1.2 the snapshot says which files decide whether a state is one of its run."""
    raw = json.loads(run.manifest.read_text())
    raw["circumstance"].pop("other_code", None)
    run.manifest.write_text(json.dumps(raw))
    target = RunFiles(tmp_path / "new")
    said = target.code / "manifests" / "checkpoint.py"
    said.parent.mkdir(parents=True)
    said.write_text('RUN_BY_RANKS = ("trainer/",)\n')
    other = with_other_seed(run)
    plan(run, 4, 8).fill(run, target, other)
    (copied,) = target.checkpoints.iterdir()
    assert read_head(copied).steps_digest == steps_digest(other.identity, ("trainer/",))
    assert read_head(copied).steps_digest != steps_digest(other.identity)


def with_other_seed(run: RunFiles) -> Manifest:
    manifest = read_manifest(run)
    training = manifest.identity.training.model_copy(update={"seed": 99})
    identity = manifest.identity.model_copy(update={"training": training})
    return manifest.model_copy(update={"identity": identity})


def test_a_slice_has_its_own_steps_only(run: RunFiles) -> None:
    """There is nothing of other steps to compare with: their jobs would run for no verdict."""
    raw = json.loads(run.manifest.read_text())
    raw["circumstance"]["slice"] = {"begin": 4, "after": 5, "end": 8}
    run.manifest.write_text(json.dumps(raw))
    refusal = (
        [f"{run.root}: is a slice: it has steps 5..8 of 12 only"],
        f"run these: python bundle.py rerun {run.root} --from-step 4 --to-step 8; "
        "or name the run that it is a slice of",
    )
    for steps in ((0, 4), (3, 8), (4, 9), (8, 12)):
        assert refused(CannotRun, run, *steps) == refusal
    with pytest.raises(CannotRun) as caught:
        refuse_other_steps(run, read_manifest(run), None, {"/old": "/new"})
    assert (caught.value.problems, caught.value.next_step) == refusal
    assert refusal[1].startswith(f"run these: {rerun_command(run, read_manifest(run))}; ")
    for after, end in ((4, 8), (6, 7)):
        refuse_beyond_slice(run, read_manifest(run), after, end)
        refuse_other_steps(run, read_manifest(run), (after, end), {})


def test_what_is_needed_is_told(run: RunFiles) -> None:
    assert plan(run, 5, 8).notes() == [
        "steps 6..8 of 12: they begin with the state after step 4, 4 steps to run, which need 4 of "
        "4 training images and none of the 2 validation images",
        "the order of samples is none that is known here: all images are needed",
    ]


@pytest.mark.parametrize(
    ("after", "end", "problems"),
    [
        (12, None, ["--from-step 12: the run has 12 steps: expected 0 to 11"]),
        (-1, 4, ["--from-step -1: the run has 12 steps: expected 0 to 11"]),
        (0, 13, ["--to-step 13: the run has 12 steps: expected 1 to 12"]),
        (
            99,
            0,
            [
                "--from-step 99: the run has 12 steps: expected 0 to 11",
                "--to-step 0: the run has 12 steps: expected 1 to 12",
            ],
        ),
        (8, 8, ["--to-step 8: expected more than --from-step, which is 8"]),
        (8, 4, ["--to-step 4: expected more than --from-step, which is 8"]),
    ],
)
def test_steps_outside_of_the_run(run: RunFiles, after: int, end: Any, problems: List[str]) -> None:
    assert refused(Trouble, run, after, end) == (
        problems,
        "the steps after --from-step up to --to-step are run again",
    )


def test_no_state_before(run: RunFiles) -> None:
    step = "begin with the first step, which needs none: --from-step 0"
    assert refused(CannotRun, run, 3, 4) == (
        [f"{run.root}: no state at or before step 3: its states are those after steps 4, 8"],
        step,
    )
    for path in run.checkpoints.iterdir():
        path.unlink()
    assert refused(CannotRun, run, 9) == (
        [f"{run.root}: no state at or before step 9: it has no states"],
        step,
    )


RESTORE = "restore it from a copy, or remove it to begin with the state before"


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_state_altered_in_any_one_entry(run: RunFiles, entry: str) -> None:
    path, expected = run.checkpoints / "step-000000004.npz", read_states(run.states)[4]
    found = alter_entry(path, entry, digest_too=True)
    assert refused(CannotRun, run, 5, 8) == (
        [f"{path}: was altered: its state has the digest {found}, expected {expected}"],
        RESTORE,
    )
    alter_entry(path, entry, digest_too=False)
    assert refused(CannotRun, run, 5, 8) == ([f"{path}: {entry} was altered"], RESTORE)


def test_the_state_of_another_run(run: RunFiles) -> None:
    path = write_state(run, read_manifest(run).identity, 4, steps_digest="9" * 64)
    assert refused(CannotRun, run, 4) == ([f"{path}: was made by another run"], RESTORE)
    write_state(run, read_manifest(run).identity, 4, ranks=1)
    assert refused(CannotRun, run, 4) == (
        [
            f"{path}: was made by a run of 1 rank, this run has 2: "
            "processes may change, ranks may not"
        ],
        RESTORE,
    )


def test_a_state_that_the_run_did_not_record(run: RunFiles) -> None:
    path = write_state(run, read_manifest(run).identity, 6)
    assert refused(CannotRun, run, 7) == (
        [f"{path}: result.json records no state after step 6"],
        RESTORE,
    )


def test_a_run_without_a_trail_that_fits(run: RunFiles) -> None:
    step = "restore the run's trail and result from a copy"
    trail = run.trail_of(1)
    kept = trail.read_text()
    trail.write_text(kept.replace('"epoch":0.25', '"epoch":0.5', 1))
    problems, next_step = refused(CannotRun, run, 4)
    assert next_step == step
    assert problems[0].startswith(f"{run.root}/results/trail: was altered: sha256 ")
    trail.unlink()
    assert refused(CannotRun, run, 4) == ([f"{trail}: does not exist"], step)


def test_a_result_whose_states_were_altered(run: RunFiles) -> None:
    edit_result(run, root="0" * 64)
    problems, _ = refused(CannotRun, run, 4)
    assert len(problems) == 1
    assert problems[0].endswith(f", root says {'0' * 64}")
    assert problems[0].startswith(f"{run.root}/result.json: states have the root ")


def older(run: RunFiles) -> RunFiles:
    """As a trainer left it that recorded no states and cannot end before the last step."""
    raw = json.loads(run.manifest.read_text())
    del raw["identity"]["code"]["files"][SLICE_CODE]
    run.manifest.write_text(json.dumps(raw))
    run.states.unlink()
    identity = read_manifest(run).identity
    raw["identity_digest"] = identity.digest()
    run.manifest.write_text(json.dumps(raw))
    edit_result(run, identity_digest=identity.digest(), states=None, root=None)
    for step in (4, 8):
        write_state(run, identity, step)
    return run


def test_older_runs_must_go_on_to_the_last_step(run: RunFiles, tmp_path: Path) -> None:
    older(run)
    assert refused(CannotRun, run, 4, 8) == (
        [
            f"{run.root}: steps 5..8 cannot be run alone: the trainer in the run's snapshot is "
            f"from before that was possible (its code has no {SLICE_CODE}), and goes on to step 12"
        ],
        "end with the last step: --to-step 12",
    )
    found = plan(run, 8)
    assert (found.bound, found.ends, found.needed.val) == (False, False, None)
    assert found.notes()[-1] == (
        "the state after step 8 is not recorded in result.json: the steps are checked from the "
        "checkpoint as it is now, the checkpoint itself is not"
    )
    target = RunFiles(tmp_path / "new")
    target.results.mkdir(parents=True)
    found.fill(run, target)
    assert target.trail_of(1).exists() and target.log.exists()
    assert not target.states.exists()


def test_slices_and_samples_that_the_states_do_not_allow(run: RunFiles) -> None:
    with pytest.raises(CannotRun) as caught:
        cuts_for(run, 4, 12, [4, 8])
    assert (caught.value.problems, caught.value.next_step) == (
        [f"{run.root}: --slices 4: 3 states are needed, the run has 2"],
        "use at most 3 slices; new runs keep states with checkpoint_archive",
    )
    with pytest.raises(Trouble) as trouble:
        cuts_for(run, 0, 12, [4, 8])
    assert trouble.value.problems == ["--slices 0: expected at least 1"]
    with pytest.raises(CannotRun) as caught:
        refuse_sample(run, 4, 3, "r")
    assert caught.value.problems == [
        f"{run.root}: --sample 4: the states of the run divide it into 3 slices: expected 1 to 3"
    ]
    with pytest.raises(CannotRun) as caught:
        refuse_sample(run, 1, 3, None)
    assert caught.value.problems == [
        f"{run.root}: --sample: result.json has no root: the draw could have been known before"
    ]
