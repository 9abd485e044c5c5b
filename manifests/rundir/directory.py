"""Run directories: named, made whole or not at all, found, listed."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import AbstractSet, Callable, Iterator, List, Optional, Tuple, Union

from container.reachable import file_here, file_problem, folder_problem
from container.trouble import Trouble
from jobtemplates.backend import QueueEntry
from manifests.record.run_files import RunFiles
from manifests.rundir.counted_folder import refuse_counted
from manifests.rundir.damage import record_damage
from manifests.rundir.records import Warn, ignore
from manifests.rundir.run_names import parse_run_name
from manifests.rundir.run_state import State, interruption, left_exit_code, present_names, run_state

PARTIAL = ".partial-"
_FULL = (errno.ENOSPC, errno.EDQUOT)


def run_name(jobname: str, created: datetime, identity_digest: str) -> str:
    """``<jobname>-<UTC time>-<first 8 of the identity digest>``; ``created`` is in UTC."""
    return f"{jobname}-{created:%Y%m%dT%H%M%SZ}-{identity_digest[:8]}"


class Taken(Trouble):
    """There is a run of this name already."""


# --- making ---------------------------------------------------------------------------------


#: How a person who submits names the folder of new runs.
AS_OUT = "choose another folder as `out`"


def _unwritable(path: Path, error: OSError, elsewhere: str) -> Trouble:
    reason = f"{path}: cannot be written: {error.strerror}"
    if error.errno in _FULL:
        return Trouble(reason, f"free some space, or {elsewhere}")
    may = "choose a folder that you may write as `out`"
    return Trouble(reason, may if elsewhere == AS_OUT else elsewhere)


def refuse_unwritable(out: Path, elsewhere: str = AS_OUT) -> None:
    """Raise Trouble when runs cannot be made in ``out``, which may not exist yet; makes nothing.

    Asked before a data set is read: hours are not to end at a folder's mode. ``elsewhere`` says how
    this verb is given another folder.
    """
    refuse_counted(out, elsewhere)
    place = next(path for path in (out, *out.parents) if os.access(path, os.F_OK))
    if not place.is_dir():
        no_folder = NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        raise _unwritable(out, no_folder, elsewhere)
    if not os.access(place, os.W_OK | os.X_OK):
        closed = PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        raise _unwritable(out, closed, elsewhere)


def _partial_name(host: str, pid: int, name: str) -> str:
    """``+`` is in no host name: so leftovers of node and of node-2 can be distinguished."""
    return f"{PARTIAL}{host}+{pid}-{name}"


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass  # somebody else's, or no process number: nothing to be removed
    return True


def _sweep(out: Path, host: str) -> None:
    """Remove what killed processes of this host left.

    The number in the name tells whether its maker lives, also between its mkdir and its lock; the
    lock tells it where process numbers do not, as in a container with the host's name.
    """
    import fcntl
    import glob
    import shutil

    for path in out.glob(f"{glob.escape(PARTIAL + host)}+*"):
        pid = path.name[len(PARTIAL + host) + 1 :].partition("-")[0]
        if not (pid.isascii() and pid.isdigit()) or _is_running(int(pid)):
            continue
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        except OSError:
            pass  # in use, or a file system without locks: nothing is known, nothing is removed
        finally:
            os.close(descriptor)


@contextmanager
def _locked_folder(path: Path) -> Iterator[None]:
    import fcntl
    import shutil

    path.mkdir()
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):  # no locks on this file system: then nobody sweeps either
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise
    finally:
        os.close(descriptor)


def create_run(
    out: Path,
    name: str,
    fill: Callable[[RunFiles], None],
    *,
    host: Optional[str] = None,
    elsewhere: str = AS_OUT,
) -> RunFiles:
    """Make the run directory ``out/name``: filled under another name, then renamed.

    ``fill`` gets the file names below that other name. Whatever it raises, nothing is left.
    Raises Taken when ``out`` has such a run, Trouble when it cannot be made or written, or is full;
    ``elsewhere`` as for :func:`refuse_unwritable`.
    """
    host = host or os.uname().nodename
    root = out / name
    partial = out / _partial_name(host, os.getpid(), name)
    with _no_new_folders(out):
        _fill_and_name(out, root, partial, fill, host, elsewhere)
    return RunFiles(root)


@contextmanager
def _no_new_folders(folder: Path) -> Iterator[None]:
    """What was made of a folder and those above it goes again if the block fails."""
    made = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
    try:
        yield
    except BaseException:
        for path in made:
            with suppress(OSError):  # it was not made, or somebody else uses it by now
                path.rmdir()
        raise


def _fill_and_name(
    out: Path,
    root: Path,
    partial: Path,
    fill: Callable[[RunFiles], None],
    host: str,
    elsewhere: str,
) -> None:
    taken = Taken(f"{root}: exists already", "wait a second and submit again")
    try:
        with suppress(FileExistsError):  # a file: making the folder below says so
            out.mkdir(parents=True, exist_ok=True)
        _sweep(out, host)
        if root.exists():
            raise taken
        with _locked_folder(partial):
            fill(RunFiles(partial))
            partial.rename(root)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST) and root.exists():
            raise taken from error
        touched = str(error.filename or "-")
        ours = touched.startswith(str(partial)) or str(partial).startswith(touched)
        if error.errno in _FULL or ours:
            raise _unwritable(out, error, elsewhere) from error
        raise


# --- finding --------------------------------------------------------------------------------


def find_run(text: Union[str, Path]) -> RunFiles:
    """The run that a person names by its directory or by a file in it, such as its manifest.

    Raises Trouble when there is none.
    """
    path = Path(os.path.abspath(text))  # noqa: PTH100  (links stay as the person gave them)
    given = folder_problem(path)
    root = path if not given else path.parent
    if given and file_problem(path):
        why = "does not exist" if given == "does not exist" else file_problem(path)
        raise Trouble(f"{text}: {why}", "give a run directory or its manifest.json")
    lacks = file_problem(RunFiles(root).manifest)
    if lacks.startswith("cannot be read"):
        raise Trouble(f"{RunFiles(root).manifest}: {lacks}", "ask its owner for a copy")
    if lacks:
        raise Trouble(
            f"{text}: is not a run directory: it holds no manifest.json",
            "give a run directory or its manifest.json",
        )
    return RunFiles(root)


@dataclass(frozen=True)
class RunSummary:
    """What the directory's name and its files tell, without reading the manifest."""

    files: RunFiles
    jobname: str
    created: str  # UTC, as in the name: 20260131T235959Z
    identity: str  # first 8 characters
    state: State

    job: str = ""  # the id of the one that waits or runs, where the scheduler knows one
    why: str = ""  # the scheduler's reason for a job that waits, or for an unknown one
    present: AbstractSet[str] = frozenset()  # names in the directory when it was looked at


JobOf = Callable[[RunFiles], QueueEntry]


def state_of(
    files: RunFiles,
    job_of: JobOf,
    warn: Warn = ignore,
    present: Optional[AbstractSet[str]] = None,
) -> Tuple[State, str, str]:
    """The state of one run, the scheduler's reason for it and which of its jobs lives, or "".

    ``job_of`` is asked only where the files leave the state open. ``damaged`` where they cannot be
    read; ``warn`` gets the reason. ``present`` are the names in the directory, if known.
    """
    present = present_names(files) if present is None else present
    code = left_exit_code(files) if "exit_code" in present else None
    state, said = run_state(present, code, "unknown"), ""
    try:
        if state == "unknown" or (state in ("stopped", "cancelled") and has_follow_ups(files)):
            entry = job_of(files)
            state = run_state(present, code, entry.state, chained=True)
            if state in ("queued", "running", "unknown"):
                return state, entry.why, entry.job
            said = entry.why
    except Trouble as trouble:
        if os.path.lexists(files.manifest):  # else the run was removed meanwhile
            for problem in trouble.problems:
                warn(problem)
        return "damaged", "", ""
    if state != "failed":
        return state, "", ""
    return state, "; ".join(filter(None, (interruption(files), said))), ""


def has_follow_ups(files: RunFiles) -> bool:
    from manifests.rundir.job import read_job

    job = read_job(files)
    return job is not None and job.follow_ups > 0


def summary_of(files: RunFiles, job_of: JobOf, warn: Warn = ignore) -> RunSummary:
    """What `list`, `status` and `show` say of a run; ``warn`` gets what is ``damaged`` of it."""
    name = parse_run_name(files.root.name)
    present = present_names(files)
    state, why, job = state_of(files, job_of, warn, present)
    if state != "damaged":  # else it was said already
        problems = record_damage(files, present, done=state == "done")
        for problem in problems:
            warn(problem)
        if problems:
            state, why = "damaged", ""
    return RunSummary(
        files=files,
        jobname=name.jobname if name else files.root.name,
        created=name.created if name else "",
        identity=name.identity if name else "",
        state=state,
        why=why,
        job=job,
        present=present,
    )


def list_runs(
    out: Path, job_of: JobOf = lambda _files: QueueEntry("unknown"), warn: Warn = ignore
) -> List[RunSummary]:
    """The runs directly below ``out``, oldest first. Raises Trouble when it cannot be read."""
    try:
        names = sorted(entry.name for entry in os.scandir(out))
    except OSError as error:
        raise Trouble(
            f"{out}: cannot be read: {error.strerror}", "give the `out` folder of your runs"
        ) from error
    found = [out / name for name in names if not name.startswith(".")]
    manifest = RunFiles.manifest.name
    runs = [
        summary_of(RunFiles(root), job_of, warn)
        for root in found
        if file_here(f"{root}/{manifest}")
    ]
    return sorted(runs, key=lambda run: (run.created, run.files.root.name))
