"""Snapshots of real git checkouts and of plain folders, hostile names among them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from container.trouble import Trouble
from manifests.record.run_files import RunFiles
from manifests.record.schema import GitState
from manifests.rundir.directory import create_run
from manifests.rundir.snapshot import Snapshot, copy_snapshot, snapshot_problems, take_snapshot
from tests.manifests.conftest import make_manifest

NEXT_STEP = "rename, remove or git-ignore these files"


def git(folder: Path, *arguments: str) -> str:
    identity = [
        "-c",
        "user.name=n",
        "-c",
        "user.email=e@example.org",
        "-c",
        "init.defaultBranch=main",
    ]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with one file of each kind."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    root = tmp_path / "pro ject"
    root.mkdir()
    git(root, "init", "-q")
    (root / ".gitignore").write_text("*.log\nruns/\n")
    (root / "same.py").write_text("same\n")
    (root / "modified.py").write_text("old\n")
    (root / "deleted.py").write_text("gone\n")
    git(root, "add", ".")
    git(root, "commit", "-qm", "first")
    (root / "modified.py").write_text("new\n")
    (root / "deleted.py").unlink()
    (root / "staged.sh").write_text("#!/bin/sh\n")
    (root / "staged.sh").chmod(0o755)
    git(root, "add", "staged.sh")
    (root / "sub").mkdir()
    (root / "sub" / 'it\'s "new" \u00e9.py').write_text("untracked\n")
    (root / "x.log").write_text("ignored\n")
    return root


def test_files_and_state_of_a_checkout(checkout: Path) -> None:
    snapshot = take_snapshot(checkout)
    assert sorted(snapshot.files) == [
        ".gitignore", "modified.py", "same.py", "staged.sh", "sub/it's \"new\" \u00e9.py",
    ]  # fmt: skip
    assert snapshot.files["staged.sh"].executable
    assert not snapshot.files["same.py"].executable
    commit = git(checkout, "rev-parse", "HEAD")
    assert snapshot.git == GitState(commit=commit, branch="main", dirty=True)


def test_clean_detached_and_unborn(checkout: Path, tmp_path: Path) -> None:
    git(checkout, "add", "-A")
    git(checkout, "commit", "-qm", "second")
    git(checkout, "checkout", "-q", "--detach")
    state = take_snapshot(checkout).git
    assert state == GitState(commit=git(checkout, "rev-parse", "HEAD"), branch=None, dirty=False)
    (tmp_path / "new").mkdir()
    git(tmp_path / "new", "init", "-q")
    assert take_snapshot(tmp_path / "new").git == GitState(branch="main")


def test_excluded_folder_makes_nothing_dirty(checkout: Path) -> None:
    git(checkout, "add", "-A")
    git(checkout, "commit", "-qm", "second")
    (checkout / "mine").mkdir()
    (checkout / "mine" / "old.py").write_text("of an earlier run\n")
    snapshot = take_snapshot(checkout, exclude=[checkout / "mine", checkout, checkout.parent])
    assert "mine/old.py" not in snapshot.files
    assert "same.py" in snapshot.files
    assert snapshot.git is not None
    assert not snapshot.git.dirty
    assert "mine/old.py" in take_snapshot(checkout).files


def test_inner_repositories_and_uninitialised_submodules(checkout: Path) -> None:
    inner = checkout / "inner"
    inner.mkdir()
    git(inner, "init", "-q")
    (inner / ".gitignore").write_text("no.py\n")
    (inner / "yes.py").write_text("yes\n")
    (inner / "no.py").write_text("no\n")
    git(inner, "add", ".")
    git(inner, "commit", "-qm", "inner")
    git(checkout, "-c", "advice.addEmbeddedRepo=false", "add", "inner")
    files = take_snapshot(checkout).files
    assert {"inner/yes.py", "inner/.gitignore"} <= set(files)
    assert "inner/no.py" not in files
    for path in sorted(inner.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    assert not any(name.startswith("inner") for name in take_snapshot(checkout).files)


def test_redirecting_variables_are_not_followed(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    assert "same.py" in take_snapshot(checkout).files


def test_folder_without_git(tmp_path: Path) -> None:
    root = tmp_path / "p"
    for name in ("a.py", "d/b.py", "__pycache__/a.pyc", ".venv/x", "demo/run/y", "d/c.pyc"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    snapshot = take_snapshot(root)
    assert sorted(snapshot.files) == ["a.py", "d/b.py"]
    assert snapshot.git is None


def test_links(checkout: Path, tmp_path: Path) -> None:
    (checkout / "good").symlink_to("same.py")
    snapshot = take_snapshot(checkout)
    assert snapshot.files["good"] == snapshot.files["same.py"]
    copy_snapshot(snapshot, tmp_path / "code")
    assert not (tmp_path / "code" / "good").is_symlink()
    (checkout / "dangling").symlink_to("nowhere")
    (checkout / "folder").symlink_to("sub")
    (checkout / "out").symlink_to("/etc/passwd")
    with pytest.raises(Trouble) as caught:
        take_snapshot(checkout)
    assert caught.value.problems == [
        f"{checkout}: dangling: is a link to nowhere, which does not exist",
        f"{checkout}: folder: is a link to {checkout}/sub, which is not a regular file",
        f"{checkout}: out: is a link to /etc/passwd, outside of the project",
    ]
    assert caught.value.next_step == NEXT_STEP


@pytest.mark.parametrize("with_git", [True, False])
def test_names_that_cannot_be_kept(checkout: Path, tmp_path: Path, with_git: bool) -> None:
    root = checkout if with_git else tmp_path / "plain"
    root.mkdir(exist_ok=True)
    (root / "new\nline").write_text("")
    try:
        Path(os.fsdecode(os.fsencode(root) + b"/b\xff")).write_text("")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    with pytest.raises(Trouble) as caught:
        take_snapshot(root)
    shown = "'b\ufffd'" if with_git else "'b\\udcff'"
    assert caught.value.problems == [
        f"{root}: {shown}: the file name is not UTF-8",
        f"{root}: 'new\\nline': the file name has control characters",
    ]


def test_git_missing(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(Trouble) as caught:
        take_snapshot(checkout)
    assert str(caught.value) == (
        f"{checkout}: is a git checkout, but git could not be started: No such file or directory\n"
        "-> install git and put it on PATH"
    )


def test_git_refuses_a_checkout_of_somebody_else(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(Trouble) as caught:
        take_snapshot(checkout)
    assert str(caught.value) == (
        f"{checkout}: git does not trust this checkout, because somebody else owns it\n"
        f"-> if you do, run: git config --global --add safe.directory {checkout}"
    )


def test_broken_checkout(checkout: Path) -> None:
    (checkout / ".git" / "HEAD").write_text("nonsense")
    with pytest.raises(Trouble) as caught:
        take_snapshot(checkout)
    assert str(caught.value) == (
        f"{checkout}: git cannot read this checkout: fatal: not a git repository (or any of the "
        "parent directories): .git\n-> make `git status` work there"
    )


@pytest.fixture
def copied(checkout: Path, tmp_path: Path) -> Snapshot:
    snapshot = take_snapshot(checkout)
    copy_snapshot(snapshot, tmp_path / "code")
    return snapshot


def test_copy_is_read_only_and_verifies(copied: Snapshot, tmp_path: Path) -> None:
    code = tmp_path / "code"
    assert (code / "staged.sh").stat().st_mode & 0o777 == 0o555
    assert (code / "same.py").stat().st_mode & 0o777 == 0o444
    assert snapshot_problems(code, make_manifest(copied.identity, copied.other)) == []


def test_copy_of_a_changing_file(checkout: Path, tmp_path: Path) -> None:
    snapshot = take_snapshot(checkout)
    (checkout / "same.py").write_text("other\n")
    with pytest.raises(Trouble) as caught:
        copy_snapshot(snapshot, tmp_path / "code")
    assert str(caught.value) == (
        f"{checkout}/same.py: changed while it was being copied\n"
        "-> let the project rest while a run is submitted, then submit again"
    )
    (checkout / "same.py").unlink()
    with pytest.raises(Trouble) as caught:
        copy_snapshot(snapshot, tmp_path / "code2")
    assert caught.value.problems == [
        f"{checkout}/same.py: cannot be read any more: No such file or directory"
    ]


def test_every_change_of_a_copy_is_named(copied: Snapshot, tmp_path: Path) -> None:
    code = tmp_path / "code"
    for name in ("same.py", "staged.sh"):
        (code / name).chmod(0o644)
    (code / "same.py").write_text("Same\n")
    (code / "modified.py").unlink()
    (code / "sub" / "extra").symlink_to("/etc")
    problems = snapshot_problems(code, make_manifest(copied.identity, copied.other))
    assert [problem.split(": sha256")[0] for problem in problems] == [
        "code/modified.py: is missing",
        "code/same.py: was altered",
        "code/staged.sh: was altered: expected to be executable",
        "code/sub/extra: is not part of the snapshot",
    ]
    assert f"expected {copied.files['same.py'].sha256}" in problems[1]


def test_identity_that_contradicts_itself(copied: Snapshot, tmp_path: Path) -> None:
    code, other = (
        code.model_copy(update={"digest": "0" * 64}) for code in (copied.identity, copied.other)
    )
    assert snapshot_problems(tmp_path / "code", make_manifest(code, other)) == [
        "identity.code.digest: does not fit identity.code.files",
        "circumstance.other_code.digest: does not fit circumstance.other_code.files",
    ]


def make_run(out: Path, name: str) -> None:
    def fill(files: RunFiles) -> None:
        files.manifest.write_text("{}")
        files.job_script.write_text("")
        (files.code / "trainer").mkdir(parents=True)
        (files.code / "trainer" / "loop.py").write_text("old\n")

    create_run(out, name, fill)


@pytest.mark.parametrize("place", [".", "some/where"])
@pytest.mark.parametrize("with_git", [True, False])
def test_run_directories_below_the_project_are_no_code(
    checkout: Path, place: str, with_git: bool
) -> None:
    git(checkout, "add", "-A")
    git(checkout, "commit", "-qm", "second")
    if not with_git:
        (checkout / ".git").rename(checkout.parent / "gone")
    out = checkout / place
    before = take_snapshot(checkout, exclude=[checkout])
    make_run(out, "a")
    (out / ".partial-h+1-b" / "code").mkdir(parents=True)
    (out / ".partial-h+1-b" / "code" / "x.py").write_text("half\n")
    after = take_snapshot(checkout, exclude=[checkout])
    assert after == before
    assert after.identity == before.identity
    # A folder of this kind that is not a run is code; so is the project, whatever it looks like.
    (out / "a" / "job.sh").unlink()
    (checkout / "manifest.json").write_text("{}")
    (checkout / "job.sh").write_text("")
    (checkout / "code").mkdir(exist_ok=True)
    (checkout / "code" / "mine.py").write_text("")
    added = set(take_snapshot(checkout).files) - set(before.files)
    prefix = "" if place == "." else f"{place}/"
    assert added == {
        f"{prefix}a/manifest.json", f"{prefix}a/code/trainer/loop.py",
        "manifest.json", "job.sh", "code/mine.py",
    }  # fmt: skip


def test_tracked_run_directories_are_no_code_either(checkout: Path) -> None:
    before = take_snapshot(checkout).identity
    make_run(checkout, "kept")
    git(checkout, "add", "-A")
    assert take_snapshot(checkout).identity == before


def test_tracked_files_are_never_excluded(checkout: Path) -> None:
    (checkout / "trainer").mkdir()
    (checkout / "trainer" / "loop.py").write_text("code\n")
    git(checkout, "add", "trainer")
    git(checkout, "commit", "-qm", "trainer")
    (checkout / "trainer" / "loop.py").write_text("modified\n")
    (checkout / "trainer" / "image.jpg").write_text("data\n")
    files = take_snapshot(checkout, exclude=[checkout / "trainer", checkout / "sub"]).files
    assert sorted(files) == [
        ".gitignore", "modified.py", "same.py", "staged.sh", "trainer/loop.py",
    ]  # fmt: skip
