"""The next step in a message fits the case: from outside."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests.integration.conftest import Bench, clone_project

pytestmark = pytest.mark.image


def last(text: str) -> str:
    return text.splitlines()[-1]


def test_a_list_used_without_its_root(bench: Bench) -> None:
    """Validation images are called as training images here: the folder's name decides."""
    done = bench.bundle("submit", bench.config(train_root="", val_root=""), code=2)
    assert done.stderr.splitlines()[-2:] == [
        f"-> they lie below {bench.data}/train: add `train_root: {bench.data}/train`",
        f"-> they lie below {bench.data}/val: add `val_root: {bench.data}/val`",
    ]
    assert not bench.out.exists()
    hint = "-> they lie below data/train: add `--root data/train`"
    check = bench.bundle("data", "check", "data/train.txt", "--nclasses", "2", code=1)
    assert last(check.stdout) == hint
    for verb in (["mean"], ["pack"]):
        done = bench.bundle("data", *verb, "data/train.txt", "-o", "made", code=2)
        assert last(done.stderr) == hint
    assert not (bench.root / "made").exists()


def test_photographs_that_were_never_cropped(bench: Bench) -> None:
    for path in (bench.data / "val").rglob("*.jpg"):
        Image.new("RGB", (500, 375)).save(path)
    make = "-> make images of that size, which the trainer reads: python bundle.py data crop"
    done = bench.bundle("submit", bench.config(), code=2)
    assert (
        last(done.stderr)
        == f"{make} {shlex.quote(str(bench.data / 'val'))} STORED; then name STORED as root"
    )
    done = bench.bundle("data", "check", "data/val.txt", "--root", "data/val", code=1)
    assert last(done.stdout) == f"{make} data/val STORED; then name STORED as root"


def test_one_bad_image_of_many_is_to_be_repaired(bench: Bench) -> None:
    next((bench.data / "train").rglob("*.jpg")).unlink()
    done = bench.bundle("submit", bench.config(), code=2)
    assert last(done.stderr) == "-> repair these images or take them out of the list"


@pytest.mark.slow
def test_a_fault_in_ones_own_trainer(bench: Bench, tmp_path: Path) -> None:
    project = clone_project(tmp_path / "project")
    own = project / "trainer" / "order.py"
    own.write_text(own.read_text() + "\nraise RuntimeError('mine')\n")
    line = own.read_text().count("\n")
    bench.project = project
    done = bench.bundle("submit", "--wait", bench.config(), code=1)
    run = next(bench.out.glob("config-*"))
    commit = json.loads((run / "manifest.json").read_text())["circumstance"]["git"]["commit"]
    assert "the trainer has a fault: RuntimeError: mine" in done.stderr
    assert last(done.stderr) == (
        f"-> trainer/order.py, line {line}: this file is not that of commit {commit[:12]}: "
        "correct it and submit again"
    )


def test_a_run_that_is_not_done_is_not_rerun(bench: Bench, finished: tuple[Bench, Path]) -> None:
    quoted = "'" + str(bench.root / "r").replace("'", "'\"'\"'") + "'"
    for marks, words, step in (
        ({"exit_code": "75\n", "stopped.json": "{}"}, "stopped at a checkpoint", "resume"),
        ({"exit_code": "2\n"}, "failed", "show"),
        ({"exit_code": "2\n", "cancelled.json": "{}"}, "was cancelled", "resume"),
    ):
        run = bench.root / "r"
        shutil.copytree(finished[1], run)
        for name in ("DONE", "exit_code"):
            (run / name).unlink()
        for name, text in marks.items():
            (run / name).write_text(text)
        done = bench.bundle("rerun", run, code=2)
        what = {"resume": "resume it", "show": "see why"}[step]
        assert done.stdout == (
            f"verdict: cannot-run\n  a: {run}\n  - {run}: {words}: there is nothing to compare "
            f"with\n-> {what}: python bundle.py {step} {quoted}\n"
        )
        assert done.stderr == ""
        shutil.rmtree(run)


def test_following_a_log_ends_with_how_the_run_ended(finished: tuple[Bench, Path]) -> None:
    bench, run = finished
    quoted = "'" + str(run).replace("'", "'\"'\"'") + "'"
    done = bench.bundle("logs", "-f", run)
    assert done.stderr == (
        f"bundle: done\n-> to make its bits again: python bundle.py rerun {quoted}\n"
    )
