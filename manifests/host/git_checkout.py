"""What git says of a checkout: its files and its state."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from pathlib import Path
from typing import Callable, Dict, List, Optional, Sequence

from container.process import CommandFailed, run
from container.trouble import Trouble
from manifests.record.schema import GitState

# Set while git runs a hook; they would point git at another repository or index.
_REDIRECTING = (
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY",
    "GIT_COMMON_DIR", "GIT_NAMESPACE", "GIT_LITERAL_PATHSPECS",
)  # fmt: skip


def is_checkout(root: Path) -> bool:
    """Whether ``root`` itself is the top of a checkout; ``.git`` is a file in worktrees."""
    return (root / ".git").exists()


def _environment() -> Dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key not in _REDIRECTING}
    return {**kept, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"}


def _git(root: Path, *arguments: str) -> List[str]:
    """Return the NUL-terminated fields that a git command prints."""
    try:
        done = run(["git", *arguments], cwd=root, env=_environment())
    except CommandFailed as error:
        if error.returncode is None:
            problem = f"{root}: is a git checkout, but git {error.reason}"
            raise Trouble(problem, "install git and put it on PATH") from error
        if "dubious ownership" in error.stderr_tail:
            raise Trouble(
                f"{root}: git does not trust this checkout, because somebody else owns it",
                f"if you do, run: git config --global --add safe.directory {root}",
            ) from error
        problem = f"{root}: git cannot read this checkout: {error.stderr_tail or error.reason}"
        raise Trouble(problem, "make `git status` work there") from error
    return [field for field in done.stdout.split("\0") if field]


def _mangled(name: str) -> bool:
    """Whether the text need not be the name on disk, whose absence then says nothing."""
    return "\n" in name or "\ufffd" in name


def git_files(root: Path, *, untracked: bool = True) -> List[str]:
    """Existing tracked and, if wanted, untracked files minus the ignored ones, below ``root``.

    Undecodable bytes of a name come back as U+FFFD, a carriage return as a newline.
    """
    found = []
    kinds = ["--cached", "--others"] if untracked else ["--cached"]
    for name in _git(root, "ls-files", "-z", *kinds, "--exclude-standard"):
        mode = _mode(f"{root}/{name}")
        if stat.S_ISDIR(mode):
            path, inner = root / name, name.rstrip("/")
            if is_checkout(path):
                found += [f"{inner}/{below}" for below in git_files(path, untracked=untracked)]
        elif mode or _mangled(name):
            found.append(name)
    return found


def _mode(path: str) -> int:
    """Of the entry itself, not of what a link leads to; 0 where there is none."""
    try:
        return os.lstat(path.rstrip("/")).st_mode
    except OSError:
        return 0


def names_matched(root: Path, patterns: Path) -> List[str]:
    """What below ``root`` git's patterns in the file ``patterns`` match, and nothing else ignores;
    ``root`` need not be a checkout. A repository inside of it is one name with ``/`` at the end."""
    with tempfile.TemporaryDirectory() as folder:
        _git(root, "init", "-q", folder)
        where = (f"--git-dir={folder}/.git", f"--work-tree={root}")
        listed = ("ls-files", "-z", "--others", "--ignored", f"--exclude-from={patterns}")
        return _git(root, *where, *listed)


def git_status(root: Path) -> List[str]:
    """What :func:`git_state` reads."""
    arguments = ("status", "--porcelain=v2", "--branch", "--untracked-files=all", "-z")
    return _git(root, *arguments, "--no-renames")


def git_state(root: Path, status: Sequence[str], left_out: Callable[[Path], bool]) -> GitState:
    """Commit, branch, and whether anything is not committed but untracked files ``left_out``."""
    commit, branch, dirty = None, None, False
    for field in status:
        if field.startswith("# branch.oid "):
            commit = field.split(" ", 2)[2]
        elif field.startswith("# branch.head "):
            branch = field.split(" ", 2)[2]
        elif field.startswith("? "):
            dirty |= not left_out(root / field[2:])
        elif not field.startswith("#"):
            dirty = True
    return GitState(
        commit=None if commit == "(initial)" else commit,
        branch=None if branch == "(detached)" else branch,
        dirty=dirty,
    )


def as_committed(root: Path, commit: str, name: str, data: bytes) -> Optional[bool]:
    """Whether a file of a commit has these bytes; False where it has no such file, None where git
    does not know the commit."""
    try:
        found = _git(root, "ls-tree", "-z", commit, "--", name)
    except Trouble:
        return None
    blob = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
    return bool(found) and found[0].split()[2] == blob
