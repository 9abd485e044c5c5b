"""The README of a run directory, and snapshots that somebody took for a checkout"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from manifests.record.run_files import RunFiles
from manifests.rundir.readme import readme_text
from manifests.rundir.records import read_manifest
from manifests.rundir.snapshot import snapshot_problems
from manifests.rundir.verify import identity_files_problems

PROJECT = Path(__file__).resolve().parents[3]


def test_the_two_commands(finished_run: RunFiles) -> None:
    manifest = read_manifest(finished_run)
    text = readme_text(manifest, "digits-20260131T235958Z-01234567")
    assert text.startswith(
        "# digits-20260131T235958Z-01234567\n\n"
        "The directory of a training run: nin, 2 classes, 3 epochs, 2 ranks, seed 0.\n"
    )
    assert "\n    make -C BUNDLE setup\n    python3 BUNDLE/bundle.py rerun .\n" in text, (
        "the snapshot of this run has no bundle.py"
    )
    files = {**manifest.identity.code.files, "bundle.py": next(iter(
        manifest.identity.code.files.values()
    ))}  # fmt: skip
    code = manifest.identity.code.model_copy(update={"files": files})
    whole = manifest.model_copy(update={"identity": manifest.identity.model_copy(
        update={"code": code}
    )})  # fmt: skip
    assert (
        "\n    cp -r code ~/bundle && make -C ~/bundle setup\n"
        "    python3 ~/bundle/bundle.py rerun .\n" in readme_text(whole, "x")
    )


def test_it_is_not_verified(finished_run: RunFiles) -> None:
    manifest = read_manifest(finished_run)
    without = identity_files_problems(finished_run, manifest)
    finished_run.readme.write_text("anything\n")
    assert identity_files_problems(finished_run, manifest) == without


def test_tools_in_a_snapshot_are_not_part_of_it(finished_run: RunFiles) -> None:
    manifest = read_manifest(finished_run)
    compiled = "trainer/__pycache__/train.cpython-311.pyc"
    for name in (".venv/bin/python", ".venv/.installed", ".tools/apptainer/x", compiled, "new.py"):
        (finished_run.code / name).parent.mkdir(parents=True, exist_ok=True)
        (finished_run.code / name).write_text("x")
    (finished_run.code / ".venv" / "lib64").symlink_to("lib")
    (finished_run.code / "sub").mkdir()
    (finished_run.code / "sub" / ".venv").write_text("x")
    ours = [
        "code/new.py: is not part of the snapshot",
        "code/sub/.venv: is not part of the snapshot",
    ]
    assert snapshot_problems(finished_run.code, manifest) == ours
    # Ranks that run in this folder might take compiled files for the code.
    assert snapshot_problems(finished_run.code, manifest, runs_in_place=True) == [
        *ours, f"code/{compiled}: is not part of the snapshot",
    ]  # fmt: skip


@pytest.fixture
def snapshot(finished_run: RunFiles) -> Path:
    code = finished_run.root.rename(finished_run.root.parent / "it's a run") / "code"
    for name in ("bundle.py", "Makefile", "container/install_host.sh", "container/quietly.sh"):
        (code / name).parent.mkdir(exist_ok=True)
        shutil.copy2(PROJECT / name, code / name)
    return code


def test_the_program_of_a_snapshot_is_not_started_there(snapshot: Path) -> None:
    before = sorted(snapshot.rglob("*"))
    done = subprocess.run(
        [sys.executable, "code/bundle.py", "rerun", "."],
        cwd=snapshot.parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    run = f"'{snapshot.parent}'".replace("it's", "it'\\''s")
    code = f"'{snapshot}'".replace("it's", "it'\\''s")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"bundle: {snapshot} is the snapshot of a run, and must stay as it is\n"
        f"-> with a bundle that is set up: python3 BUNDLE/bundle.py rerun {run}\n"
        f"-> or make one from the snapshot: cp -r {code} ~/bundle && make -C ~/bundle setup\n"
    )
    assert sorted(snapshot.rglob("*")) == before


def test_nothing_is_installed_in_a_snapshot(snapshot: Path) -> None:
    before = sorted(snapshot.rglob("*"))
    done = subprocess.run(
        ["make", "-s", "setup"], cwd=snapshot, capture_output=True, text=True, check=False
    )
    code = str(snapshot).replace("'", "'\\''")
    assert done.stderr.startswith(
        f"bundle: {snapshot} is the snapshot of a run, and must stay as it is\n"
        f"-> copy it: cp -r '{code}' ~/bundle && make -C ~/bundle setup\n"
    ), done.stderr
    assert (done.returncode, done.stdout) == (2, "")
    assert sorted(snapshot.rglob("*")) == before
