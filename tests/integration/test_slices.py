"""Parts of a run checked alone, from outside: one slice, all of them, a sample; states altered."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, List

import pytest

from manifests.record.checkpoint import read_head
from manifests.record.states import state_digest
from tests.integration.conftest import Bench, clone_project
from tests.integration.test_rerun import copied, run_directory_in
from tests.manifests.run_states import alter_entry

pytestmark = [pytest.mark.image, pytest.mark.slow, pytest.mark.long]

#: Two epochs of three steps; states after steps 2 and 4.
SETTINGS: Dict[str, Any] = {"epoch": 2, "checkpoint_archive": 2}


@pytest.fixture(scope="module")
def kept(finished: tuple[Bench, Path]) -> tuple[Bench, Path]:
    """A run that kept states, which no test changes."""
    bench, _ = finished
    return bench, bench.submit(bench.config("kept", **SETTINGS))


def verdict_of(done: subprocess.CompletedProcess[str]) -> str:
    return next(line for line in done.stdout.splitlines() if line.startswith("verdict: "))


def folder_in(text: str) -> Path:
    line = next(line for line in text.splitlines() if " slices in " in line)
    return Path(line.partition(" slices in ")[2])


def test_submit_says_what_is_kept(kept: tuple[Bench, Path]) -> None:
    bench, run = kept
    said = bench.bundle("submit", "--dry-run", bench.config("dry", **SETTINGS)).stderr
    assert "bundle: 2 states kept besides the newest checkpoints, after steps 2, 4 of 6: " in said
    size = (run / "results" / "checkpoints" / "step-000000002.npz").stat().st_size
    assert f"about {size / 1e6:.1f} MB each, {2 * size / 1e6:.1f} MB in all" in said
    too_many = bench.config("many", epoch=2, checkpoint_archive=6)
    for options in (["--dry-run"], []):
        done = bench.bundle("submit", *options, too_many, code=2)
        assert done.stderr.endswith(
            "bundle: checkpoint_archive: 6 states, expected at most 5: the run has 6 steps\n"
            "-> use fewer states, or leave the key out\n"
        )


def test_one_slice_needs_its_images_only(kept: tuple[Bench, Path], tmp_path: Path) -> None:
    bench, run = kept
    place = tmp_path / "data"
    shutil.copytree(bench.data, place)
    shutil.rmtree(place / "val")
    (place / "val").mkdir()
    moved = ["--data", f"{bench.data}={place}"]
    done = bench.bundle("rerun", run, "--from-step", "3", "--to-step", "4", *moved)
    assert verdict_of(done) == "verdict: identical for step 4 of 6"
    assert (
        "steps 4..4 of 6: they begin with the state after step 2, 2 steps to run, which need 15 of "
        "24 training images and none of the 6 validation images\n" in done.stderr
    )
    again = run_directory_in(done.stderr)
    shutil.copytree(bench.data / "val", place / "val", dirs_exist_ok=True)
    assert bench.bundle("verify", again).stdout.startswith("verified: ")
    for verb in ("show", "status", "list"):
        bench.bundle(verb, again.parent if verb == "list" else again)
    last = bench.bundle("rerun", run, "--from-step", "4", "--processes", "1")
    assert verdict_of(last) == "verdict: identical for steps 5..6 of 6"
    assert "  + they end on the recorded parameters and model file\n" in last.stdout
    together = bench.bundle(
        "rerun", run, "--gather", again, "--gather", run_directory_in(last.stderr), code=3
    )
    assert verdict_of(together) == "verdict: inconclusive, by 2 slices"
    assert "  - no slice has steps 1..2\n" in together.stdout


def test_parts_swapped_from_a_state_on(kept: tuple[Bench, Path]) -> None:
    """The state is that of the old code, image, data and keys; and both sides can be looked at."""
    bench, run = kept
    steps = ["--from-step", "2", "--to-step", "4"]
    same = bench.bundle("rerun", run, "--with", "code", *steps)
    assert verdict_of(same) == "verdict: identical for steps 3..4 of 6"
    done = bench.bundle("rerun", run, "--with", "lr=0.02", *steps, code=1)
    assert verdict_of(done) == "verdict: diverged in steps 3..4 of 6"
    assert "  - with what was swapped the bits differ from step 3 on\n" in done.stdout
    assert "  - the state after step 2 of both: " in done.stdout
    assert done.stdout.endswith(f"rerun {shlex.quote(str(run))} {' '.join(steps)}\n")
    again = run_directory_in(done.stderr)
    verified = bench.bundle("verify", again)
    assert verified.stdout == "verified: nothing differs\n"
    assert verified.stderr.endswith(f"rerun {shlex.quote(str(again))} {' '.join(steps)}\n")
    zoom = json.loads(bench.bundle("rerun", again, "--zoom", "--json", code=1).stdout)["zoom"]
    assert [text.partition(":")[0][-19:] for text in zoom["sentences"][:2]] == [
        "with the parts of a", "with the parts of b",
    ]  # fmt: skip
    assert zoom["first"]["phase"] == "after"
    # A slice is checked by its own steps.
    of_its_own = bench.bundle("rerun", again, *steps)
    assert verdict_of(of_its_own) == "verdict: identical for steps 3..4 of 6"


def test_all_slices_after_the_gatherer_was_killed(kept: tuple[Bench, Path]) -> None:
    bench, run = kept
    argv = [sys.executable, str(bench.project / "bundle.py"), "rerun", str(run), "--slices", "3"]
    with subprocess.Popen(
        argv, cwd=bench.root, env={**os.environ, **bench.environment},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    ) as gatherer:  # fmt: skip
        assert gatherer.stderr is not None
        said: List[str] = []
        for line in gatherer.stderr:
            said.append(line)
            if ": job " in line:
                break
        gatherer.send_signal(signal.SIGKILL)
    folder = folder_in("".join(said))
    assert not (folder / "verdict.json").exists()
    # And one slice was never written.
    missing = sorted(path for path in folder.iterdir() if path.is_dir())[-1]
    shutil.rmtree(missing)
    done = bench.bundle("rerun", run, "--gather", folder)
    assert verdict_of(done) == "verdict: identical, by 3 slices"
    verdict = json.loads((folder / "verdict.json").read_text())
    parts = verdict["slices"]["parts"]
    assert [(part["begin"], part["end"]) for part in parts] == [(0, 2), (2, 4), (4, 6)]
    assert verdict["slices"]["root"] == json.loads((run / "result.json").read_text())["root"]
    assert bench.bundle("rerun", run, "--gather", folder, "--json").stdout == (
        (folder / "verdict.json").read_text()
    )


def test_a_sample_is_a_function_of_root_and_seed(kept: tuple[Bench, Path]) -> None:
    bench, run = kept
    plans = [
        json.loads(
            bench.bundle(
                "rerun", run, "--sample", "2", "--seed", seed, "--dry-run", "--json"
            ).stdout
        )["slices"]
        for seed in ("a", "a", *map(str, range(6)))
    ]
    assert plans[0] == plans[1]
    assert len({str(plan) for plan in plans}) > 1
    done = bench.bundle("rerun", run, "--sample", "1", "--seed", "a")
    assert verdict_of(done) == "verdict: identical for 1 of 3 slices"


def test_altered_states_cannot_be_run(kept: tuple[Bench, Path], tmp_path: Path) -> None:
    bench, run = kept
    altered = copied(run, tmp_path / "altered")
    state = altered / "results" / "checkpoints" / "step-000000002.npz"
    expected = state_digest(read_head(state))
    entry = next(name for name in read_head(state).entries if name.startswith("optimizer"))
    found = alter_entry(state, entry, digest_too=True)
    text = f"was altered: its state has the digest {found}, expected {expected}"
    done = bench.bundle("verify", altered, "--json", code=1)
    assert json.loads(done.stdout)["problems"] == [f"results/checkpoints/{state.name}: {text}"]
    for options in (["--from-step", "2", "--to-step", "4"], ["--slices", "3"]):
        refused = json.loads(bench.bundle("rerun", altered, *options, "--json", code=2).stdout)
        assert (refused["verdict"], refused["evidence"]) == ("cannot-run", [f"{state}: {text}"])
    assert sorted(tmp_path.iterdir()) == [altered]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (
            ["--slices", "2", "--from-step", "2"],
            "--slices, --from-step or --to-step: only one of them",
        ),
        (["--seed", "a"], "--seed: draws slices, and needs --sample K"),
        (["--slices", "0"], "--slices 0: expected at least 1"),
        (["--to-step", "7"], "--to-step 7: the run has 6 steps: expected 1 to 6"),
        (
            ["--slices", "2", "--with", "code"],
            "--slices: not together with --with: "
            "no slice would end on the state with which the next one begins",
        ),
    ],
)
def test_options_that_make_no_sense(
    kept: tuple[Bench, Path], options: List[str], problem: str
) -> None:
    bench, run = kept
    before = sorted(run.parent.iterdir())
    assert bench.bundle("rerun", run, *options, code=2).stderr.startswith(f"bundle: {problem}\n-> ")
    assert sorted(run.parent.iterdir()) == before


def test_the_slice_in_which_a_run_broke_is_named(bench: Bench, tmp_path: Path) -> None:
    bench.project = clone_project(tmp_path / "project")
    loop = bench.project / "trainer" / "optimizers" / "momentum_sgd.py"
    noise = """

_update = MomentumSGD.update


def _noisy_update(self, rate, epoch, step):
    _update(self, rate, epoch, step)
    if step == 4:
        import os

        # Small: the run is to go on to its end.
        noise = os.stat("/bundle/run/manifest.json").st_mtime_ns % 999983 * 1e-8
        self._parameters[0][1].array[...] += noise


MomentumSGD.update = _noisy_update
"""
    loop.write_text(loop.read_text() + noise)
    run = bench.submit(bench.config(**SETTINGS))
    time.sleep(0.01)
    done = bench.bundle("rerun", run, "--slices", "3", code=1)
    assert verdict_of(done) == "verdict: diverged, by 3 slices"
    parts = json.loads((folder_in(done.stderr) / "verdict.json").read_text())["slices"]["parts"]
    assert [part["verdict"] for part in parts] == ["identical", "diverged", "identical"]
    assert "  - slice of steps 3..4: diverged: first difference at step 4, rank 0: parameters " in (
        done.stdout
    )
