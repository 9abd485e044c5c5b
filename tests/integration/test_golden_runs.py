"""Runs of every landed version: verified, rerun and resumed by today's code."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Dict, Tuple

import pytest

from tests.integration.conftest import PROJECT, Bench, clone_project
from tests.integration.golden import VERSIONS, kill_session, moved, unpack
from tests.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.image

#: The commit whose stopped runs are resumed, and what it needs of an environment is today's.
OLD_COMMIT = "3fa2164"
BY_ITS_CODE = "import sys, bundle; bundle.main(sys.argv[1:])"


@pytest.fixture
def golden(tmp_path: Path, image: str) -> Tuple[Bench, Path]:
    """A bench, and the folder of the golden runs' images."""
    del image
    return Bench(tmp_path), unpack("images", tmp_path)


def parameters_of(run: Path) -> str:
    return str(json.loads((run / "result.json").read_text())["digests"]["parameters"])


def identity_as_text(run: Path) -> Dict[str, object]:
    raw: Dict[str, object] = json.loads((run / "manifest.json").read_text())["identity"]
    return raw


def test_there_is_a_golden_run_of_every_landed_version() -> None:
    """1.1 never landed."""
    assert VERSIONS == ["1.0", "1.2", "1.3"]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_golden_run_verifies_and_reruns(golden: Tuple[Bench, Path], version: str) -> None:
    bench, images = golden
    run = unpack(version, bench.root / "old")
    done = bench.bundle("verify", run, *moved(images), code=1)
    assert done.stdout == "results/model.npz: is missing\n1 mismatch\n"
    done = bench.bundle("rerun", run, *moved(images), "--out", bench.out)
    again = next(bench.out.iterdir())
    assert done.stdout.splitlines()[-1] != ""
    assert "verdict: identical\n" in done.stdout
    assert (
        f"  - {run}: results/model.npz is gone; the recorded model is there again: "
        f"{again}/results/model.npz\n"
    ) in done.stdout
    assert identity_as_text(again) == identity_as_text(run)
    assert bench.bundle("verify", again).stdout == "verified: nothing differs\n"


def killed_at_a_checkpoint(bench: Bench, *words: str | Path) -> Path:
    """The run of a command whose ranks are killed when they have left their first checkpoint."""
    argv = [sys.executable, str(bench.project / "bundle.py"), *map(str, words)]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as command:
        for left in ("results/checkpoints/step-*.npz", "job.json"):
            wait_until(partial(any_of, bench.out, f"*/{left}"), pause=0.005)
        job = json.loads(next(bench.out.glob("*/job.json")).read_text())
        kill_session(int(job["id"].partition(".")[0]))
        command.wait(PATIENCE)
    return next(bench.out.iterdir())


def any_of(folder: Path, pattern: str) -> bool:
    return next(folder.glob(pattern), None) is not None


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text, f"{path}: {old}"
    path.write_text(text.replace(old, new), encoding="utf-8")


def of_next_year(target: Path) -> Path:
    """A copy of the project as it may look later: records of the identity, of the other code and of
    states have more fields, with defaults, and a file that ranks import has another name."""
    project = clone_project(target)
    record = project / "manifests" / "record"
    for before, after in (
        ("    determinism: Determinism\n\n    def digest", "    flavour: str = 'plain'\n"),
        ("    precision: Precision\n    seed", "    tint: int = 3\n"),
        ("    executable: bool = False\n", "    owner: str = 'nobody'\n"),
    ):
        line, newline, rest = before.partition("\n")
        edit(record / "schema.py", before, line + newline + after + rest)
    edit(
        record / "checkpoint.py",
        "    seconds: float\n\n\nclass Head",
        "    seconds: float\n    weight: int = 1\n\n\nclass Head",
    )
    (record / "driver_version.py").rename(record / "nvidia_versions.py")
    for path in (*project.rglob("manifests/**/*.py"), *project.rglob("trainer/**/*.py")):
        text = path.read_text(encoding="utf-8")
        if "driver_version" in text:
            path.write_text(
                text.replace("record.driver_version", "record.nvidia_versions"), encoding="utf-8"
            )
    return project


@pytest.mark.parametrize("version", VERSIONS)
def test_the_next_field_and_the_next_move_break_no_old_run(
    golden: Tuple[Bench, Path], version: str
) -> None:
    bench, images = golden
    later = Bench(bench.root, of_next_year(bench.root / "later"))
    run = unpack(version, bench.root / "old")
    raw = json.loads((run / "manifest.json").read_text())
    # Not of the identity: so that the rerun below leaves checkpoints before it is killed.
    raw["circumstance"]["checkpointing"] = {"minutes": 10.0, "interval": 2, "kept": 2}
    (run / "manifest.json").write_text(json.dumps(raw))
    done = later.bundle("verify", run, *moved(images), code=1)
    assert done.stdout == "results/model.npz: is missing\n1 mismatch\n"

    kills = version != "1.0"  # whose trainer knows no checkpoints
    words = ["rerun", run, *moved(images), "--out", bench.out]
    if not kills:
        printed = later.bundle(*words).stdout
        again = next(bench.out.iterdir())
    while kills:
        again = killed_at_a_checkpoint(later, *words)
        kills = (again / "DONE").exists()
        if kills:  # too late, on a machine that had other things to do
            shutil.rmtree(again)
    assert identity_as_text(again) == raw["identity"]
    if version == "1.0":
        assert "verdict: identical\n" in printed
        return
    resumed = later.bundle("resume", "--wait", again)
    assert "verdict: identical\n" in resumed.stdout
    assert json.loads((again / "result.json").read_text())["observed"]["resumed_at"] != []
    assert later.bundle("verify", again).stdout == "verified: nothing differs\n"


@pytest.mark.long
def test_a_run_that_an_old_commit_left_stopped_is_resumed(golden: Tuple[Bench, Path]) -> None:
    """The old commit submits it by its own code; a walltime of a second stops it after a step."""
    bench, images = golden
    old = bench.root / "old commit"
    old.mkdir()
    found = subprocess.run(
        ["git", "archive", "--format=tar", "-o", str(bench.root / "old.tar"), OLD_COMMIT],
        cwd=PROJECT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if found.returncode != 0:
        pytest.skip(f"this clone has no commit {OLD_COMMIT}: {found.stderr.strip()}")
    subprocess.run(["tar", "-xf", str(bench.root / "old.tar"), "-C", str(old)], check=True)
    if (PROJECT / ".tools").exists():
        (old / ".tools").symlink_to(PROJECT / ".tools")
    golden_run = unpack("1.2", bench.root / "golden")
    for name in ("train", "val"):
        rows = (golden_run / "inputs" / f"{name}.tsv").read_text().splitlines()
        fields = (row.split("\t") for row in rows)
        lines = (f"{path} {label}\n" for _, label, path in fields)
        (bench.root / f"{name}.txt").write_text("".join(lines))
    shutil.copy(golden_run / "inputs" / "mean.npy", bench.root / "mean.npy")
    text = (golden_run / "config.yaml").read_text()
    config = bench.root / "config.yaml"
    text = text.replace("_root: data\n", "_root: images\n").replace("data/mean.npy", "mean.npy")
    config.write_text(text + 'walltime: "00:00:01"\n')
    del images
    done = subprocess.run(
        [sys.executable, "-c", BY_ITS_CODE, "submit", "--wait", str(config)],
        cwd=old, env={**os.environ, "PYTHONPATH": str(old)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 75, done.stderr
    run = Path(done.stdout.splitlines()[0].partition("run  ")[2])
    assert json.loads((run / "manifest.json").read_text())["version"] == "1.2"
    for _ in range(12):  # each job ends by its walltime too
        resumed = bench.bundle("resume", "--wait", run, code=None)
        if resumed.returncode != 75:
            break
    assert resumed.returncode == 0, resumed.stderr
    assert parameters_of(run) == parameters_of(golden_run)
    assert bench.bundle("verify", run).stdout == "verified: nothing differs\n"
    assert "verdict: identical\n" in bench.bundle("rerun", run).stdout
