"""Data in the project's folder: its size is said, refused over a limit, and can be left out."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Dict, List

import pytest

from container.trouble import Trouble
from manifests.host.git_checkout import is_checkout
from manifests.rundir.snapshot import take_snapshot
from manifests.rundir.snapshot_size import NEXT_STEP, copy_text, large_text, largest

MB = 10**6
SIZES = {
    "data/a/deep/x.tar": 90 * MB,
    "data/a/deep/y.tar": 60 * MB,
    "train.pack": 20 * MB,
    "trainer/main.py": 2 * MB,
    "README.md": 1,
}


def test_the_largest_are_named_by_the_folder_that_has_them() -> None:
    assert largest(SIZES) == [
        ("data/a/deep/", 150 * MB),
        ("train.pack", 20 * MB),
        ("trainer/", 2 * MB),
    ]
    spread = {f"data/{k}/x": MB for k in range(10)}
    assert largest(spread) == [("data/", 10 * MB)]
    assert largest({}) == []


def test_what_is_said_of_sizes() -> None:
    said = (
        "the run gets a copy of the project's code: 5 files, 172.0 MB "
        "(most in data/a/deep/ 150.0 MB, train.pack 20.0 MB, trainer/ 2.0 MB)"
    )
    assert copy_text(SIZES) == said
    assert large_text(SIZES) == f"{said}; what is not code can be left out by .bundleignore"
    assert large_text({"a": 100 * MB}) == ""


@pytest.fixture(params=["checkout", "folder"])
def project(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Code and data, some of it tracked where there is git."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    root = tmp_path / "my project"
    files: Dict[str, int] = {
        "code.py": 10,
        "trainer/main.py": 0,
        "manifests/record/x.py": 0,
        "lists/train.txt": 3 * MB,
        "originals/a b/é.jpg": 5 * MB,
        "originals/keep.py": 4,
        "originals/one.tar": 2 * MB,
        "sub/two.tar": MB,
    }
    for name, size in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"#" * size)
    if request.param == "checkout":
        for words in (["init", "-q"], ["add", "code.py", "lists", "trainer"]):
            subprocess.run(["git", *words], cwd=root, check=True)
    return root


def ignore(project: Path, *lines: str) -> None:
    (project / ".bundleignore").write_text("".join(f"{line}\n" for line in lines))


def data_in(project: Path) -> List[str]:
    code = (".bundleignore", "code.py", "trainer/main.py", "manifests/record/x.py")
    return sorted(set(take_snapshot(project).files) - set(code))


ALL = [
    "lists/train.txt",
    "originals/a b/é.jpg",
    "originals/keep.py",
    "originals/one.tar",
    "sub/two.tar",
]


@pytest.mark.parametrize(
    ("lines", "left_out"),
    [
        ([], []),
        (["# a comment", ""], []),
        (["*.tar"], ["originals/one.tar", "sub/two.tar"]),
        (["/originals/"], ["originals/a b/é.jpg", "originals/keep.py", "originals/one.tar"]),
        (["/originals/*", "!/originals/keep.py"], ["originals/a b/é.jpg", "originals/one.tar"]),
        (["lists"], ["lists/train.txt"]),  # tracked where there is git
        (["**/t*.tar"], ["sub/two.tar"]),
        (["/two.tar"], []),
    ],
)
def test_patterns_are_those_of_git(project: Path, lines: List[str], left_out: List[str]) -> None:
    ignore(project, *lines)
    assert data_in(project) == sorted(set(ALL) - set(left_out))
    assert ".bundleignore" in take_snapshot(project).files


def test_the_patterns_are_remembered(project: Path) -> None:
    assert take_snapshot(project).bundleignore is None
    ignore(project, "*.tar")
    assert take_snapshot(project).bundleignore == "*.tar\n"
    assert sorted(path.name for path in project.iterdir() if path.name.startswith(".")) == (
        [".bundleignore", ".git"] if is_checkout(project) else [".bundleignore"]
    )


def test_what_is_left_out_makes_no_checkout_dirty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    author = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    ignore(tmp_path, "/data/")
    for words in (["init", "-q"], ["add", "."], [*author, "commit", "-qm", "x"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x").write_text("x")
    state = take_snapshot(tmp_path).git
    assert state is not None
    assert state.dirty is False


def test_over_the_limit(project: Path) -> None:
    with pytest.raises(Trouble) as caught:
        take_snapshot(project, limit_mb=10)
    assert caught.value.problems == [
        f"{project}: the project's code has 11.0 MB, and each run gets a copy: more than "
        "snapshot_limit, 10 MB; most is in originals/ 7.0 MB, lists/ 3.0 MB, sub/ 1.0 MB"
    ]
    assert caught.value.next_step == NEXT_STEP
    take_snapshot(project, limit_mb=12)
    ignore(project, "originals")
    take_snapshot(project, limit_mb=5)


def test_code_of_ranks_cannot_be_left_out(project: Path) -> None:
    ignore(project, "*.py")
    with pytest.raises(Trouble) as caught:
        take_snapshot(project)
    assert caught.value.problems == [
        f"{project}: .bundleignore leaves out manifests/record/x.py, which ranks execute",
        f"{project}: .bundleignore leaves out trainer/main.py, which ranks execute",
    ]


def test_patterns_that_cannot_be_read(project: Path) -> None:
    path = project / ".bundleignore"
    path.write_bytes(b"\xff\n")
    with pytest.raises(Trouble) as caught:
        take_snapshot(project)
    assert caught.value.problems == [f"{path}: cannot be read: is not UTF-8 text"]
    path.unlink()
    path.mkdir()
    with pytest.raises(Trouble) as caught:
        take_snapshot(project)
    assert caught.value.problems == [f"{path}: cannot be read: Is a directory"]
    assert caught.value.next_step == "correct or remove this file"
