"""The backend without a scheduler: a job is a process in a session of its own."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import List, Mapping, Optional

from container.process import start_session
from jobtemplates.backend import Backend
from manifests.record.exit_codes import STOPPED_EXIT_CODE
from manifests.record.run_files import RunFiles

#: What a job inherits: paths, locale, scratch, and the settings of the module command. Those of MPI
#: come from the site profile and from modules (jobtemplates.transport.VARIABLES).
#: Of Apptainer's own settings only where it may write: by others it would bind foreign files over
#: the run's code or strip its environment.
INHERITED = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TMPDIR", "TERM", "LD_LIBRARY_PATH",
    "APPTAINER_TMPDIR", "APPTAINER_CACHEDIR", "SINGULARITY_TMPDIR", "SINGULARITY_CACHEDIR",
)  # fmt: skip
INHERITED_PREFIXES = ("LC_", "MODULE", "LMOD_")

#: Seconds that a cancelled job has to end by itself before it is killed.
GRACE = 10.0


#: Seconds in which processes that were killed are gone: a busy machine takes its time, and so does
#: the memory of many ranks. Nobody waits longer than until they are.
KILL_SECONDS = 10.0

#: Between two looks at its processes.
LOOK_SECONDS = 0.05

#: What Apptainer and Singularity mount images and overlays by, where they may not do it themselves.
MOUNT_HELPERS = ("squashfuse_ll", "squashfuse", "fuse-overlayfs", "fuse2fs", "gocryptfs")

#: Isolated: no variable of the user's, and nothing of a folder that may be gone, is in it.
SUPERVISOR = (sys.executable, "-I", "-S", str(Path(__file__).with_name("supervisor.py")))


class Local(Backend):
    name = "local"
    title = "this host"
    job_id = (re.compile(r"[0-9]{1,10}\.[0-9]{1,20}"), "PID.START")
    warns = False
    runs_here = True
    ask_seconds = 0.0
    slow_files = 0.0


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """The allow-listed part of an environment; nothing else reaches the job."""
    return {
        name: value
        for name, value in environ.items()
        if name in INHERITED or name.startswith(INHERITED_PREFIXES)
    }


@dataclass(frozen=True)
class Process:
    """One line of proc(5)'s /proc/[pid]/stat: fields 1, 2, 3, 6 and 22 (clock ticks after boot)."""

    pid: int
    command: str
    state: str
    session: int
    started: int


def read_process(pid: int) -> Optional[Process]:
    """None when the process is gone or a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    before, _, rest = text.rpartition(")")
    fields = rest.split()
    if fields[0] in ("Z", "X"):
        return None
    command = before.partition("(")[2]
    return Process(pid, command, fields[0], int(fields[3]), int(fields[19]))


def session_of(job_id: str) -> List[Process]:
    """The living processes of a job's session: its leader, and all that the leader left behind.

    The id holds the leader's pid, which is the session's number, and its start: a pid is not given
    out again while a session of that number lives, and afterwards the start tells them apart.
    """
    number, started = (int(part) for part in job_id.split("."))
    leader = read_process(number)
    if leader is not None and leader.started != started:
        return []
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    processes = [process for process in map(read_process, pids) if process is not None]
    return [process for process in processes if process.session == number]


def start(files: RunFiles, environ: Mapping[str, str], follow_ups: int = 0) -> str:
    """Start the run's job script in the background and return its id, ``PID.START``.

    It runs under a supervisor, which is the leader of a session of its own: it outlives the
    terminal, and ends with all of its processes. Raises CommandFailed.
    """
    again = [str(follow_ups), str(STOPPED_EXIT_CODE), str(files.interrupted)]
    pid = start_session(
        [*SUPERVISOR, *again, "bash", str(files.job_script)],
        cwd=files.root,
        env={**inherited(environ), "LC_ALL": "C"},  # bash warns of a locale that is not there
        stdout=files.logs / "start.log",
        stderr=files.logs / "start.log",
    )
    process = read_process(pid)
    return f"{pid}.{process.started if process else 0}"


def is_alive(job_id: str) -> bool:
    """Whether anything of the job still runs, be it ranks whose job script was killed.

    A helper that mounts an image is left where the job's processes were all killed at once. It is
    not the job, it does nothing any more.
    """
    return any(process.command not in MOUNT_HELPERS for process in session_of(job_id))


def cancel(job_id: str, grace: float = GRACE) -> bool:
    """End the job's whole session: TERM, then KILL after ``grace`` seconds.

    Returns False when it had ended before. Only processes of the session that ``start`` made are
    signalled.
    """
    alive = is_alive(job_id)
    if alive:
        for process in leader_first(session_of(job_id), job_id):
            # The image stays mounted for as long as it is in use.
            if process.command not in MOUNT_HELPERS:
                send(process, signal.SIGTERM)
        wait_until_gone(job_id, grace)
    deadline = time.monotonic() + KILL_SECONDS
    while left := session_of(job_id):  # again: one may have started another meanwhile
        for process in leader_first(left, job_id):
            send(process, signal.SIGKILL)
        if time.monotonic() > deadline:
            break
        time.sleep(LOOK_SECONDS)
    return alive


def leader_first(processes: List[Process], job_id: str) -> List[Process]:
    """A script that ends before its supervisor was asked to would be started again."""
    leader = int(job_id.partition(".")[0])
    return sorted(processes, key=lambda process: process.pid != leader)


def warn_leader(job_id: str) -> None:
    """Give the job's leader the warning signal: its ranks write a checkpoint and end."""
    leader = int(job_id.split(".")[0])
    for process in session_of(job_id):
        if process.pid == leader:
            send(process, signal.SIGUSR2)


def end_helpers(job_id: str) -> None:
    """End what a job left that has ended. Only what mounts an image in its session is signalled."""
    if not is_alive(job_id):
        for process in session_of(job_id):
            with suppress(PermissionError):  # another account's
                send(process, signal.SIGTERM)


def wait_until_gone(job_id: str, seconds: float) -> bool:
    """Whether the job has ended within so many seconds."""
    deadline = time.monotonic() + seconds
    while is_alive(job_id):
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK_SECONDS)
    return True


def send(process: Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(process.pid, number)
