"""rerun, compare, verify: what changes the verdict and what must not, tried from outside."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from manifests.record.version import SCHEMA_VERSION
from tests.accounts import WITHOUT_RIGHTS
from tests.integration.conftest import Bench, clone_project

pytestmark = pytest.mark.image


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def private_cache(bench: Bench, folder: Path) -> Path:
    """A cache of the test's own that shares the verified inputs of the real one; its image."""
    path = Path(json.loads(bench.bundle("build", "--stack", "cpu", "--json").stdout)["path"])
    (folder / "images").mkdir(parents=True)
    for name in (path, path.with_suffix(".json")):
        shutil.copy2(name, folder / "images" / name.name)
    (folder / "sha256").symlink_to(path.parents[1] / "sha256")
    bench.environment["BUNDLE_CACHE"] = str(folder)
    return folder / "images" / path.name


def run_directory_in(text: str) -> Path:
    line = next(line for line in text.splitlines() if "running again in " in line)
    return Path(line.partition("running again in ")[2])


def copied(run: Path, target: Path) -> Path:
    """A copy of a run that a test may alter."""
    shutil.copytree(run, target)
    for path in target.rglob("*"):
        path.chmod(path.stat().st_mode | 0o200)
    return target


def test_what_moved_was_edited_or_was_deleted_does_not_change_the_bits(
    bench: Bench, tmp_path: Path
) -> None:
    bench.project = clone_project(tmp_path / "the project")
    image = private_cache(bench, tmp_path / "cache")
    run = bench.submit(bench.config())
    digest = sha256(image)

    loop = bench.project / "trainer" / "main.py"
    loop.write_text("raise SystemExit('the working tree must not run')\n")
    image.unlink()
    moved_run = run.rename(bench.root / "moved run")
    bench.data.rename(bench.root / "new data")
    done = bench.bundle("rerun", moved_run, "--data", f"{bench.data}={bench.root / 'new data'}")

    assert "verdict: identical" in done.stdout
    assert sha256(image) == digest
    again = run_directory_in(done.stderr)
    assert again.parent == moved_run.parent
    verdict = json.loads((again / "verdict.json").read_text())
    assert (verdict["verdict"], verdict["suspects"]) == ("identical", [])
    results = [json.loads((path / "result.json").read_text()) for path in (moved_run, again)]
    assert results[0]["digests"] == results[1]["digests"]
    manifest = json.loads((again / "manifest.json").read_text())
    assert manifest["kind"] == "rerun"
    assert manifest["circumstance"]["rerun_of"] == str(moved_run)


def test_one_pixel_of_one_image_is_named(bench: Bench, finished: tuple[Bench, Path]) -> None:
    run = copied(finished[1], bench.root / "run")
    victim = bench.data / "train" / "0 it's" / 'image "4".jpg'
    picture = Image.open(victim)
    red, green, blue = picture.getpixel((7, 7))  # type: ignore[misc]
    picture.putpixel((7, 7), ((red + 99) % 256, green, blue))
    picture.save(victim, quality=90)
    done = bench.bundle("rerun", run, "--data", f"{finished[0].data}={bench.data}", code=2)
    assert done.stdout.startswith("verdict: cannot-run\n")
    assert f"inputs/train.tsv, line 5: {victim} was altered: sha256" in done.stdout
    assert sorted(path.name for path in bench.root.iterdir()) == ["data", "run"]


def test_one_byte_of_the_snapshot_is_named(bench: Bench, finished: tuple[Bench, Path]) -> None:
    run = copied(finished[1], bench.root / "run")
    victim = run / "code" / "trainer" / "loop.py"
    victim.write_bytes(victim.read_bytes() + b"\n")
    done = bench.bundle("rerun", run, "--json", code=2)
    verdict = json.loads(done.stdout)
    assert verdict["verdict"] == "cannot-run"
    assert [text.partition(": sha256")[0] for text in verdict["evidence"]] == [
        "code/trainer/loop.py: was altered"
    ]
    problems = json.loads(bench.bundle("verify", run, "--json", code=1).stdout)["problems"]
    assert problems == verdict["evidence"]


def test_a_run_that_is_not_repeatable_is_caught_at_its_first_step(
    bench: Bench, tmp_path: Path
) -> None:
    bench.project = clone_project(tmp_path / "project")
    optimizer = bench.project / "trainer" / "optimizers" / "momentum_sgd.py"
    noise = """

import os

_update, _calls = MomentumSGD.update, 0


def _noisy_update(self, *arguments):
    global _calls
    _calls += 1
    _update(self, *arguments)
    if _calls == 2:
        # The same on all ranks of a run, another in each run.
        noise = os.stat("/bundle/run/manifest.json").st_mtime_ns % 1000003
        self._parameters[0][1].array[...] += noise


MomentumSGD.update = _noisy_update
"""
    optimizer.write_text(optimizer.read_text() + noise)
    run = bench.submit(bench.config())
    done = bench.bundle("rerun", run, code=1)
    assert "verdict: diverged" in done.stdout
    assert "first difference at step 2" in done.stdout


def test_a_tampered_trail_is_inconclusive_and_named(
    bench: Bench, finished: tuple[Bench, Path]
) -> None:
    run = copied(finished[1], bench.root / "run")
    trail = run / "results" / "trail" / "rank-00001.jsonl"
    lines = trail.read_text().splitlines()
    record = json.loads(lines[1])
    record["loss"] = (float.fromhex(record["loss"]) + 1.0).hex()
    trail.write_text("\n".join([lines[0], json.dumps(record), *lines[2:]]) + "\n")
    done = bench.bundle("compare", finished[1], run, code=3)
    assert f"{run}/results/trail: was altered: sha256 " in done.stdout


def test_a_run_without_done_is_nothing_to_compare_with(
    bench: Bench, finished: tuple[Bench, Path]
) -> None:
    run = copied(finished[1], bench.root / "run")
    (run / "DONE").unlink()
    done = bench.bundle("rerun", run, code=2)
    assert f"{run}: failed: there is nothing to compare with" in done.stdout
    assert "verdict: inconclusive" in bench.bundle("compare", finished[1], run, code=3).stdout


def test_a_manifest_of_a_newer_major_version_is_refused(
    bench: Bench, finished: tuple[Bench, Path]
) -> None:
    run = copied(finished[1], bench.root / "run")
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["version"] = "2.0"
    (run / "manifest.json").write_text(json.dumps(manifest))
    for verb in ("rerun", "verify", "show"):
        assert bench.bundle(verb, run, code=2).stderr == (
            f"bundle: {run}/manifest.json: version 2.0 is not known: "
            "this bundle reads version 1.x\n"
            "-> read it with a bundle of that version\n"
        )


def test_a_whole_run_verifies(finished: tuple[Bench, Path]) -> None:
    bench, run = finished
    assert bench.bundle("verify", run).stdout == "verified: nothing differs\n"


def test_a_dry_rerun_writes_nothing(finished: tuple[Bench, Path]) -> None:
    bench, run = finished
    before = sorted(bench.root.rglob("*"))
    assert bench.bundle("rerun", run, "--dry-run").stdout.startswith("#!/bin/bash\n")
    assert sorted(bench.root.rglob("*")) == before


def test_an_unused_data_option_is_an_error(finished: tuple[Bench, Path]) -> None:
    bench, run = finished
    done = bench.bundle("rerun", run, "--data", "/nowhere=/there", code=2)
    assert done.stderr.splitlines()[-2:] == [
        "bundle: --data /nowhere=/there: no recorded data lies below /nowhere",
        f"-> recorded roots: {bench.data / 'train'}, {bench.data / 'val'}",
    ]


def test_a_rerun_that_fails_is_inconclusive_and_says_why(
    bench: Bench, finished: tuple[Bench, Path], tmp_path: Path
) -> None:
    run = copied(finished[1], bench.root / "run")
    # A stand-in for a launcher that breaks: it is Open MPI by its word only.
    tools = tmp_path / "tools"
    tools.mkdir()
    mpirun = tools / "mpirun"
    mpirun.write_text(
        "#!/bin/sh\n"
        "[ \"$1\" = --version ] && { echo 'mpirun (Open MPI) 4.1.4'; exit 0; }\n"
        "echo 'no slots' >&2; exit 1\n"
    )
    mpirun.chmod(0o755)
    bench.environment["PATH"] = f"{tools}:{os.environ['PATH']}"
    done = bench.bundle("rerun", run, code=3)
    assert done.stdout.startswith("verdict: inconclusive\n")
    assert "the run is not complete (no DONE)" in done.stdout
    assert "the job failed; the end of its standard error:\nno slots\n" in done.stderr


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("config.yaml", "config.yaml: was altered: sha256"),
        ("job.sh", "job.sh: was altered: sha256"),
        ("results/log.jsonl", "results/log.jsonl: was altered: sha256"),
        ("results/model.npz", "results/model.npz: was altered: sha256"),
        ("inputs/mean.npy", "inputs/mean.npy: was altered: sha256"),
        ("exit_code", "exit_code: "),
    ],
)
def test_verify_names_the_file_that_was_edited(
    bench: Bench, finished: tuple[Bench, Path], name: str, text: str
) -> None:
    run = copied(finished[1], bench.root / "run")
    with (run / name).open("ab") as stream:
        stream.write(b"1\n")
    problems = json.loads(bench.bundle("verify", "--json", run, code=1).stdout)["problems"]
    assert [problem for problem in problems if problem.startswith(text)], problems


def test_a_newer_minor_version_is_read_with_a_warning(
    bench: Bench, finished: tuple[Bench, Path]
) -> None:
    run = copied(finished[1], bench.root / "run")
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps({**manifest, "version": "1.7"}))
    assert bench.bundle("show", run).stderr == (
        f"bundle: warning: {run}/manifest.json: version 1.7 is newer than {SCHEMA_VERSION}: "
        "fields it added are kept, not used\n"
    )


def test_code_of_today_that_does_not_matter(
    bench: Bench, finished: tuple[Bench, Path], tmp_path: Path
) -> None:
    """Swapped in on purpose, into a run whose own snapshot is damaged and whose data moved."""
    run = copied(finished[1], bench.root / "run")
    (run / "code" / "trainer" / "loop.py").write_text("of no use")
    bench.project = clone_project(tmp_path / "project")
    loop = bench.project / "trainer" / "loop.py"
    loop.write_text(loop.read_text() + "# This changes no bit.\n")
    swaps = ["--with", "code", "--with", "loaderjob=2", "--with", "seed=0"]
    moved = ["--data", f"{finished[0].data}={bench.data}", "--processes", "1"]
    done = bench.bundle("rerun", run, *swaps, *moved, "--out", bench.out, "--bisect")
    again = run_directory_in(done.stderr)
    state = json.loads((again / "manifest.json").read_text())["circumstance"]
    assert state["swapped"] == ["code", "loaderjob=2", "seed=0"]
    commits = [manifest_of(path)["circumstance"]["git"]["commit"][:12] for path in (run, again)]
    dirty = " and changes to it" if manifest_of(run)["circumstance"]["git"]["dirty"] else ""
    lines = done.stdout.splitlines()
    assert "  - what was swapped did not matter: the bits are the same" in lines
    at = lines.index("swapped on purpose (a | b):")
    assert lines[at + 1 : at + 5] == [
        f"  code (commit {commits[0]}{dirty} | commit {commits[1]} and changes to it): 1 file that "
        "ranks execute differs: trainer/loop.py",
        "  loaderjob: 1 | 2",
        "  seed: 0 | 0",
        "metadata that differs (a | b):",
    ]
    assert "           with code, loaderjob=2, seed=0" in bench.bundle("show", again).stdout
    assert bench.bundle("verify", again).stdout == "verified: nothing differs\n"
    verdict = json.loads((again / "verdict.json").read_text())
    assert [part["differs"] for part in verdict["swapped"]] == [True, True, False]


SWAPS = (
    "bundle: --with banana: expected code, image, data or KEY=VALUE\n-> docs/rerun-with.md lists "
    "what can be swapped; for the placement of a rerun use --site, --group, --out, --processes and "
    "--nodes\n"
)


def manifest_of(run: Path) -> dict[str, Any]:
    raw: dict[str, Any] = json.loads((run / "manifest.json").read_text())
    return raw


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--with", "banana"], 2, SWAPS),
        (["--with", "banana", "--bisect"], 125, SWAPS),
        (["--bisect", "--x"], 125, "Error: No such option"),
        (
            ["--with", "batchsize=2", "--with", "ranks_per_node=1", "--from-step", "1"],
            2,
            "bundle: --from-step 1: not together with --with batchsize=2: the states of the run do "
            "not fit it\n--from-step 1: not together with --with ranks_per_node=1: the "
            "states of the run do not fit it\n-> swap it from the first step on: --to-step T "
            "alone\n",
        ),
        (
            ["--zoom", "--slices", "2"],
            2,
            "bundle: --zoom: not together with --slices, --sample or --gather\n"
            "-> zoom into the step that the slices name: rerun RUN --from-step S --to-step T "
            "--zoom\n",
        ),
    ],
)
def test_what_cannot_be_asked_of_a_rerun_leaves_nothing(
    finished: tuple[Bench, Path], arguments: list[str], code: int, said: str
) -> None:
    bench, run = finished
    before = sorted(bench.root.rglob("*"))
    done = bench.bundle("rerun", run, *arguments, code=code)
    assert done.stdout == ""
    assert said in done.stderr
    assert sorted(bench.root.rglob("*")) == before


def test_a_run_of_another_account_as_it_was_copied(
    bench: Bench, finished: tuple[Bench, Path]
) -> None:
    """Image and data lie in a home that this account cannot read; both are here under other
    paths."""
    run, home = copied(finished[1], bench.root / "run"), bench.root / "home"
    home.mkdir()
    manifest = json.loads((run / "manifest.json").read_text())
    digest = manifest["identity"]["image"]["sha256"]
    shutil.move(bench.data, home / "data")
    (home / "image.sif").write_bytes(b"closed")
    manifest["circumstance"]["paths"].update(
        image=str(home / "image.sif"),
        train_root=str(home / "data" / "train"),
        val_root=str(home / "data" / "val"),
    )
    (run / "manifest.json").write_text(json.dumps(manifest))
    (run / "code" / ".venv").mkdir()
    (run / "code" / ".venv" / "pyvenv.cfg").write_text("made by `make setup` of an older snapshot")
    home.chmod(0)
    try:
        denied = bench.bundle("verify", run, code=1, prefix=WITHOUT_RIGHTS)
        assert denied.stdout == (
            f"inputs/train.tsv: its root folder {home}/data/train cannot be read: "
            "Permission denied\n"
            f"inputs/val.tsv: its root folder {home}/data/val cannot be read: Permission denied\n"
            "2 mismatches\n"
        )
        for verb in (["show"], ["status"], ["list"], ["compare", run]):
            bench.bundle(*verb, run if verb != ["list"] else run.parent, prefix=WITHOUT_RIGHTS)
        moved = f"{home}/data={finished[0].data}"
        bench.bundle("verify", run, "--data", moved, prefix=WITHOUT_RIGHTS)
        done = bench.bundle("rerun", "--dry-run", run, "--data", moved, prefix=WITHOUT_RIGHTS)
    finally:
        home.chmod(0o700)
    script = done.stdout.splitlines()
    assert f"image_sha256={digest}" in script
    image = next(line for line in script if line.startswith("image="))
    assert image.endswith(".sif") and "home" not in image
    # The same, with the data in the run's own directory.
    shutil.copytree(finished[0].data, run / "data")
    home.chmod(0)
    try:
        bench.bundle("verify", run, prefix=WITHOUT_RIGHTS)
        done = bench.bundle("rerun", "--dry-run", run, prefix=WITHOUT_RIGHTS)
    finally:
        home.chmod(0o700)
    assert "/run/data/train" in done.stdout
