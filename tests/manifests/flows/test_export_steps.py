"""Exports of what some steps need: images, state and records of these steps, and no more"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, List

import pytest

from container.progress import Silent
from container.trouble import Trouble
from manifests.cli.verbs.export import parse_steps
from manifests.flows import export as flow
from manifests.flows.cannot_run import CannotRun
from manifests.flows.part_of_run import refuse_other_steps
from manifests.flows.recorded_data import data_here
from manifests.flows.slice_plan import SlicePlan
from manifests.host.context import HostContext
from manifests.record import schema
from manifests.record.run_files import RunFiles
from manifests.rundir.export_head import held_steps
from manifests.rundir.records import read_manifest
from manifests.rundir.verify import Needed, verify_run
from tests.exports import Forged, exported, imported, tree, trouble_of

NEEDED = Needed(frozenset({0, 2}), frozenset())


@pytest.fixture
def part(finished_run: RunFiles, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Steps 6 to 10 of the run need two images and the state after step 5."""
    finished_run.checkpoints.mkdir()
    states = [finished_run.checkpoints / f"step-{step:09d}.npz" for step in (5, 10)]
    for path in states:
        path.write_bytes(b"state")
    plan = SlicePlan(
        part=schema.Slice(begin=5, after=5, end=10), steps=12, needed=NEEDED, samples=(4, 2),
        ends=True, checkpoint=states[0], state="0" * 64,
    )  # fmt: skip
    monkeypatch.setattr(flow, "planned_part", lambda *_words: plan)
    return states[0]


def part_of(run: RunFiles, target: Path, host: HostContext, **wanted: Any) -> Path:
    return exported(run, target, host, "image", steps=(5, 10), **wanted)


def test_what_the_steps_need(
    finished_run: RunFiles, part: Path, host: HostContext, tmp_path: Path
) -> None:
    files = imported(part_of(finished_run, tmp_path / "a.tar", host), tmp_path / "new", host)
    names = sorted(tree(files.root))
    assert [name for name in names if name.startswith(("data/", "results/check", "image"))] == [
        'data/train/train/0/it\'s a "0".jpg',
        'data/train/train/0/it\'s a "2".jpg',
        "image.sif",
        "results/checkpoints/step-000000005.npz",
    ]
    assert "results/model.npz" not in names
    assert held_steps(files) == (5, 10) and held_steps(finished_run) is None
    head = json.loads(files.export.read_text())
    assert (head["steps"], head["holds"]) == ([5, 10], ["data", "image"])
    shutil.rmtree(tmp_path / "data")
    circumstance = data_here(files, read_manifest(files).circumstance, {})
    # No image of the other set is needed; a folder must be there all the same.
    assert Path(circumstance.paths.train_root) == files.root / "data" / "train"
    assert Path(circumstance.paths.val_root) == files.root / "data"

    def problems(**part: Any) -> List[str]:
        return [
            text.partition(": is not")[0] for text in verify_run(
                files, image_path=lambda _identity: files.image, progress=Silent(),
                circumstance=circumstance, **part,
            ).all
            if "checkpoints" not in text  # made up here
        ]  # fmt: skip

    assert problems(needed=NEEDED, whole=False) == []
    assert "results/model.npz: is missing" in problems(needed=NEEDED)
    assert any("does not exist" in text for text in problems(whole=False))


def test_packages_unless_the_image_is_there(
    finished_run: RunFiles, part: Path, host: HostContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: List[str] = []
    monkeypatch.setattr(flow, "package_members", lambda *_words: asked.append("packages") or [])
    plan = flow.plan_export(finished_run.root, None, flow.Wanted(steps=(5, 10)), host)
    assert (asked, plan.head.holds) == (["packages"], ["data", "packages"])


def test_a_missing_image_of_another_step_is_none(
    finished_run: RunFiles, part: Path, host: HostContext, tmp_path: Path
) -> None:
    (tmp_path / "data" / "train" / "1" / 'it\'s a "1".jpg').unlink()
    shutil.rmtree(tmp_path / "data" / "val")
    part_of(finished_run, tmp_path / "a.tar", host)
    (tmp_path / "data" / "train" / "0" / 'it\'s a "2".jpg').unlink()
    problems, _ = trouble_of(part_of, finished_run, tmp_path / "b.tar", host)
    assert problems == [
        f'inputs/train.tsv, line 3: {tmp_path}/data/train/0/it\'s a "2".jpg does not exist'
    ]


def test_other_steps_are_refused(
    finished_run: RunFiles, part: Path, host: HostContext, tmp_path: Path
) -> None:
    files = imported(part_of(finished_run, tmp_path / "a.tar", host), tmp_path / "new", host)
    manifest = read_manifest(files)
    for steps in ((5, 10), (7, 8)):
        refuse_other_steps(files, manifest, steps, {})
    refuse_other_steps(files, manifest, None, {"/old": "/new"})
    refuse_other_steps(finished_run, manifest, None, {})
    for steps in (None, (0, 3), (4, 10), (5, 11)):  # type: ignore[assignment]
        with pytest.raises(CannotRun) as caught:
            refuse_other_steps(files, manifest, steps, {})
        assert caught.value.problems == [
            f"{files.root}: is an export of steps 6..10 of {manifest.identity.steps}: "
            "it does not have what other steps need"
        ]
        assert caught.value.next_step == (
            f"run these: python bundle.py rerun {files.root} --from-step 5 --to-step 10; "
            "or import an export of the whole run"
        )


def test_a_state_that_names_gpus_is_needed(
    finished_run: RunFiles, part: Path, host: HostContext, tmp_path: Path
) -> None:
    assert trouble_of(part_of, finished_run, tmp_path / "a.tar", host, anonymous=True) == (
        ["--anonymous: the state after step 5 names the GPUs of its hosts, and the steps need it"],
        "leave --anonymous out, or begin with the first step: --steps 0:T",
    )


def test_a_part_that_says_it_is_whole(
    finished_run: RunFiles, part: Path, host: HostContext, tmp_path: Path
) -> None:
    forged = Forged(part_of(finished_run, tmp_path / "a.tar", host))
    other = forged.write(tmp_path / "b.tar", steps=None)
    problems, _ = trouble_of(imported, other, tmp_path / "new", host)
    assert len([text for text in problems if text.endswith(".jpg: is missing")]) == 4


@pytest.mark.parametrize("text", ["", "5", "5-10", "a:b", "-1:5", "5:1:2", "1.5:3", ":5", "9" * 12])
def test_words_that_are_no_steps(text: str) -> None:
    with pytest.raises(Trouble) as caught:
        parse_steps(text)
    assert str(caught.value) == (
        f"--steps {text}: expected S:T, two numbers of steps\n"
        "-> for instance: --steps 100:200, or --steps 100: up to the last step"
    )


def test_words_that_are_steps() -> None:
    assert [parse_steps(text) for text in (None, "5:10", "5:")] == [None, (5, 10), (5, None)]


def test_steps_that_the_run_does_not_have(finished_run: RunFiles, host: HostContext) -> None:
    """Said in terms of the option that export has."""
    last = read_manifest(finished_run).identity.steps
    for steps, problem in (
        ((last, None), f"--steps {last}:T: the run has {last} steps: expected 0 to {last - 1}"),
        ((0, 999), f"--steps S:999: the run has {last} steps: expected 1 to {last}"),
        ((2, 1), "--steps S:1: expected more than S, which is 2"),
    ):
        wanted = flow.Wanted(steps=steps)
        assert trouble_of(flow.plan_export, finished_run.root, None, wanted, host) == (
            [problem],
            "the steps after S up to T are run again",
        )
    command = "run these: python bundle.py rerun X --from-step 1 --to-step 2"
    assert flow.as_steps_option(command) == command
    assert flow.as_steps_option("needs none: --from-step 0") == "needs none: --steps 0:T"
