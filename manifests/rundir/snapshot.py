"""The code of a run: which files of the project belong to it, their digests, and a copy.

Of a git checkout these are the tracked, modified, staged and untracked files minus the ignored
ones; of a folder without ``.git`` (an unpacked archive) all files but :data:`LEFT_OUT`. Of both,
what the patterns of ``.bundleignore`` match is left out.

A symbolic link to a regular file inside the project is kept as that file's content; any other
link is refused, because what it names would not be under the snapshot's digest. Submodules and
repositories inside the project are listed by their own git; an empty, not initialised submodule
adds nothing.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Dict, FrozenSet, Iterable, List, Optional, Sequence, Tuple, Union

from container.ahead import Ahead
from container.trouble import Trouble, first_of
from manifests.host.git_checkout import (
    git_files,
    git_state,
    git_status,
    is_checkout,
    names_matched,
)
from manifests.record.alteration import was_altered
from manifests.record.canonical_json import digest_of
from manifests.record.run_files import RunFiles
from manifests.record.schema import CodeIdentity, FileDigest, GitState, Manifest
from manifests.rundir.directory import PARTIAL
from manifests.rundir.rank_code import Imports, rank_code
from manifests.rundir.snapshot_size import BUNDLEIGNORE, NEXT_STEP, too_large

#: Names that are never code, for folders that no ``.gitignore`` speaks for.
LEFT_OUT = (
    ".git", ".venv", ".tools", "__pycache__", "*.pyc", ".mypy_cache", ".ruff_cache",
    ".pytest_cache", "demo", "*.sif",
)  # fmt: skip

_BLOCK = 1 << 20
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Snapshot:
    """``files`` maps paths relative to ``root``, ``/`` between the parts, to their digests;
    ``executed`` are those that the ranks execute (manifests.rundir.rank_code)."""

    root: Path
    files: Dict[str, FileDigest]
    git: Optional[GitState]
    executed: FrozenSet[str] = frozenset()
    bundleignore: Optional[str] = None  # the text of the file, where there is one

    @property
    def sizes(self) -> Dict[str, int]:
        return {name: digest.size for name, digest in self.files.items()}

    @property
    def identity(self) -> CodeIdentity:
        """The files that decide bits."""
        return code_identity({n: self.files[n] for n in self.files if n in self.executed})

    @property
    def other(self) -> CodeIdentity:
        """The files that decide none."""
        return code_identity({n: self.files[n] for n in self.files if n not in self.executed})


def code_identity(files: Dict[str, FileDigest]) -> CodeIdentity:
    values = {path: digest.model_dump(mode="json") for path, digest in files.items()}
    return CodeIdentity(digest=digest_of(values), files=files)


def recorded_files(manifest: Manifest) -> Dict[str, FileDigest]:
    """All files of a run's snapshot, whether they decide bits or not."""
    other = manifest.circumstance.other_code
    return {**(other.files if other else {}), **manifest.identity.code.files}


def _digest(path: Union[str, Path]) -> FileDigest:
    source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return _digest_of(source)
    finally:
        os.close(source)


def _digest_of(source: int, target: Optional[int] = None) -> FileDigest:
    """Of an open file, by its descriptor; copied to ``target`` where there is one.

    Descriptors, not streams: a snapshot has hundreds of small files, and streams cost more than
    reading them.
    """
    sha256, size = hashlib.sha256(), 0
    while block := os.read(source, _BLOCK):
        sha256.update(block)
        size += len(block)
        if target is not None:
            _write(target, block)
    executable = bool(os.fstat(source).st_mode & stat.S_IXUSR)
    return FileDigest(sha256=sha256.hexdigest(), size=size, executable=executable)


def _write(target: int, block: bytes) -> None:
    left = memoryview(block)
    while left:
        left = left[os.write(target, left) :]


def _folder_files(root: Path) -> List[str]:
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = [
            name for name in folders if not any(fnmatch(name, pattern) for pattern in LEFT_OUT)
        ]
        links = [name for name in folders if Path(folder, name).is_symlink()]
        for name in [*names, *links]:
            if not any(fnmatch(name, pattern) for pattern in LEFT_OUT):
                found.append(Path(folder, name).relative_to(root).as_posix())
    return found


def _is_regular(path: str) -> bool:
    """Whether it is a file itself, and no link."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False


def _refusal(root: Path, name: str) -> str:
    """Why this file cannot be part of a snapshot; empty when it can."""
    if name.isascii() and name.isprintable() and _is_regular(f"{root}/{name}"):
        return ""
    path = root / name
    undecodable = any("\udc80" <= letter <= "\udcff" for letter in name)
    if undecodable or ("\ufffd" in name and not os.path.lexists(path)):
        return f"{name!r}: the file name is not UTF-8"
    if _CONTROL.search(name):
        return f"{name!r}: the file name has control characters"
    if path.is_symlink():
        target = path.resolve()
        if not target.exists():
            return f"{name}: is a link to {path.readlink()}, which does not exist"
        if root not in target.parents:
            return f"{name}: is a link to {target}, outside of the project"
        if not target.is_file():
            return f"{name}: is a link to {target}, which is not a regular file"
    elif not path.is_file():
        return f"{name}: is not a regular file"
    return ""


def _below(path: Path, folders: Iterable[Path]) -> bool:
    return any(folder == path or folder in path.parents for folder in folders)


class _RunFolders:
    """Which files below ``root`` lie in a run directory, whole or half-made; asks each folder once.

    A checkout that is run from is none: its own folder is not asked.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: Dict[Path, bool] = {}
        self._names: Dict[str, bool] = {}

    def hold(self, path: Path) -> bool:
        return self._is_run(path.parent)

    def hold_name(self, name: str) -> bool:
        """As :meth:`hold`, of a name relative to the root."""
        folder = name.rpartition("/")[0]
        if folder not in self._names:
            self._names[folder] = self.hold(self._root / name)
        return self._names[folder]

    def _is_run(self, folder: Path) -> bool:
        if self._root not in folder.parents:
            return False
        known = self._known.get(folder)
        if known is None:
            files = RunFiles(folder)
            known = (
                folder.name.startswith(PARTIAL)
                or (files.manifest.is_file() and files.job_script.is_file() and files.code.is_dir())
                or self._is_run(folder.parent)
            )
            self._known[folder] = known
        return known


def take_snapshot(
    project: Path,
    *,
    exclude: Sequence[Path] = (),
    known: Optional[Imports] = None,
    limit_mb: Optional[int] = None,
) -> Snapshot:
    """List and digest the code of ``project``, without what lies below the folders ``exclude``.
    ``known`` is for :func:`manifests.rundir.rank_code.rank_code`.

    What the patterns of ``.bundleignore`` match is left out, whether git tracks it or not; code
    that ranks execute cannot be. More than ``limit_mb`` are refused before any byte is read.

    Folders that are not below the project, or are the project, exclude nothing, and what git
    tracks is never excluded: it is code wherever it lies. Run directories, half-made ones too,
    are no code even then: they would change the code of the next run.

    Raises Trouble when git is missing or refuses, or when files cannot be part of a snapshot
    (all of them are named).
    """
    root = project.resolve()
    excluded = [path for path in (folder.resolve() for folder in exclude) if root in path.parents]
    in_git = is_checkout(root)
    status = Ahead(partial(git_status, root)) if in_git else None
    names = git_files(root) if in_git else _folder_files(root)
    tracked = frozenset(git_files(root, untracked=False)) if in_git and excluded else frozenset()
    runs = _RunFolders(root)
    patterns, ignored = _ignored(root)
    kept = sorted(
        name
        for name in set(names)
        if not runs.hold_name(name)
        and (not excluded or name in tracked or not _below(root / name, excluded))
        and not ignored.has(name)
    )
    _refuse_size(root, kept, limit_mb)
    problems = [f"{root}: {text}" for text in (_refusal(root, name) for name in kept) if text]
    problems += [
        f"{root}: {BUNDLEIGNORE} leaves out {name}, which ranks execute"
        for name in sorted(set(names))
        if name.startswith(_EXECUTED) and name.endswith(".py") and ignored.has(name)
    ]
    files: Dict[str, FileDigest] = {}
    if not problems:
        for name in kept:
            try:
                files[name] = _digest(f"{root}/{name}")
            except OSError as error:
                problems.append(f"{root}: {name}: cannot be read: {error.strerror}")
    if problems:
        raise Trouble(first_of(problems), "rename, remove or git-ignore these files")
    executed = frozenset(rank_code(files, lambda name: (root / name).read_bytes(), known))
    state = None
    if status is not None:

        def left_out(path: Path) -> bool:
            name = path.relative_to(root).as_posix()
            return runs.hold(path) or _below(path, excluded) or ignored.has(name)

        state = git_state(root, status.answer(), left_out)
    return Snapshot(root, files, state, executed, patterns)


#: Where the code of ranks lies (manifests.rundir.rank_code).
_EXECUTED = ("trainer/", "manifests/record/")


class _Ignored:
    """Names, and folders with ``/`` at the end."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = frozenset(names)
        self._folders = tuple(name for name in names if name.endswith("/"))

    def has(self, name: str) -> bool:
        return name in self._names or name.startswith(self._folders)


def _ignored(root: Path) -> Tuple[Optional[str], _Ignored]:
    """The text of ``.bundleignore`` and what it matches. Raises Trouble where it is not text."""
    path = root / BUNDLEIGNORE
    if not os.path.lexists(path):
        return None, _Ignored([])
    try:
        text = path.read_bytes().decode("utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise Trouble(f"{path}: cannot be read: {reason}", "correct or remove this file") from error
    return text, _Ignored(names_matched(root, path))


def _refuse_size(root: Path, names: Sequence[str], limit_mb: Optional[int]) -> None:
    sizes = {}
    for name in names:
        with suppress(OSError):  # said when it is read
            sizes[name] = os.stat(f"{root}/{name}").st_size  # noqa: PTH116
    problem = too_large(root, sizes, limit_mb)
    if problem:
        raise Trouble(problem, NEXT_STEP)


def copy_snapshot(snapshot: Snapshot, target: Path) -> None:
    """Copy the files into the new folder ``target``, read-only, executable where they were.

    Raises Trouble when a file is no longer what the snapshot says; ``target`` is then left for
    the caller to remove (see :func:`manifests.rundir.directory.create_run`).
    """
    target.mkdir(parents=True)
    made = {""}
    again = "let the project rest while a run is submitted, then submit again"
    for name, expected in snapshot.files.items():
        folder = name.rpartition("/")[0]
        if folder not in made:
            (target / folder).mkdir(parents=True, exist_ok=True)
            made.add(folder)
        path = f"{snapshot.root}/{name}"
        try:
            source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise Trouble(f"{path}: cannot be read any more: {error.strerror}", again) from error
        try:
            found = _copy(source, f"{target}/{name}", 0o555 if expected.executable else 0o444)
        finally:
            os.close(source)
        if found != expected:
            raise Trouble(f"{path}: changed while it was being copied", again)


def _copy(source: int, target: str, mode: int) -> FileDigest:
    """Raises OSError, with the target's name, where it is there already or cannot be written."""
    copied = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        found = _digest_of(source, copied)
        os.fchmod(copied, mode)
    except OSError as error:
        raise OSError(error.errno, error.strerror, target) from error
    finally:
        os.close(copied)
    return found


def copy_recorded(code: Path, target: Path, manifest: Manifest) -> None:
    """Copy what a run's manifest records of its ``code/``, and nothing else that lies there.

    Raises Trouble as :func:`copy_snapshot` does.
    """
    copy_snapshot(Snapshot(code, recorded_files(manifest), None), target)


#: What `make setup` makes at the top of a checkout, in a snapshot too where an older one is asked.
_TOOLS = (".venv", ".tools")


def _beside(name: str, *, runs_in_place: bool) -> bool:
    """Whether a file that is not recorded is one of the tools, or compiled by Python: no part of
    the snapshot, and a copy does not have it. Where ranks run in place, they might take compiled
    files for the code.
    """
    parts = name.split("/")
    compiled = "__pycache__" in parts[:-1] and name.endswith(".pyc")
    return parts[0] in _TOOLS or (compiled and not runs_in_place)


def snapshot_problems(
    code_dir: Path, manifest: Manifest, *, runs_in_place: bool = False
) -> List[str]:
    """Every missing, altered and extra file of a run's ``code/``, each ``code/path: what``.

    ``runs_in_place`` where ranks are to run this folder and not a copy of what is recorded.
    """
    if code_dir.is_symlink():
        return [f"code: is a link to {code_dir.readlink()}, expected the folder itself"]
    problems = []
    recorded = recorded_files(manifest)
    for name, expected in sorted(recorded.items()):
        path = code_dir / name
        if ".." in Path(name).parts or Path(name).is_absolute():
            problems.append(f"code/{name}: is a path outside of the snapshot")
        elif _is_gone(path):
            problems.append(f"code/{name}: is missing")
        else:
            problems += _difference(name, path, expected)
    present = (
        Path(folder, name).relative_to(code_dir).as_posix()
        for folder, folders, names in os.walk(code_dir)
        for name in [*names, *(item for item in folders if Path(folder, item).is_symlink())]
    )
    extra = sorted(
        name
        for name in present
        if name not in recorded and not _beside(name, runs_in_place=runs_in_place)
    )
    problems += [f"code/{name}: is not part of the snapshot" for name in extra]
    return problems + code_digest_problems(manifest)


def code_digest_problems(manifest: Manifest) -> List[str]:
    """Whether the digests of the code are those of the manifest's own lists of files."""
    problems = []
    values = manifest.model_dump(mode="json", include={"identity": True, "circumstance": True})
    for field, code in (
        ("identity.code", values["identity"]["code"]),
        ("circumstance.other_code", values["circumstance"].get("other_code")),
    ):
        if code is not None and digest_of(code["files"]) != code["digest"]:
            problems.append(f"{field}.digest: does not fit {field}.files")
    return problems


def _is_gone(path: Path) -> bool:
    """One that only cannot be read is there, and the difference says why it cannot."""
    try:
        return not stat.S_ISREG(path.lstat().st_mode)
    except PermissionError:
        return False
    except OSError:
        return True


def _difference(name: str, path: Path, expected: FileDigest) -> List[str]:
    try:
        found = _digest(path)
    except OSError as error:
        return [f"code/{name}: cannot be read: {error.strerror}"]
    if found.sha256 != expected.sha256:
        return [f"code/{name}: {was_altered(found.sha256, expected.sha256)}"]
    if found.executable != expected.executable:
        wanted = "executable" if expected.executable else "not executable"
        return [f"code/{name}: was altered: expected to be {wanted}"]
    return []
