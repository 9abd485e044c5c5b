"""The backend without a scheduler: a job is a process in a session of its own."""

from __future__ import annotations

import os
import re
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import List, Mapping, Optional

from container.process import start_session
from jobtemplates.backend import Backend
from manifests.record.outcome import STOPPED_EXIT_CODE
from manifests.record.schema import RunFiles

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
    """One line of proc(5)'s /proc/[pid]/stat: fields 1, 3, 6 and 22 (clock ticks after boot)."""

    pid: int
    state: str
    session: int
    started: int


def read_process(pid: int) -> Optional[Process]:
    """None when the process is gone or a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    if fields[0] in ("Z", "X"):
        return None
    return Process(pid, fields[0], int(fields[3]), int(fields[19]))


def session_of(job_id: str) -> List[Process]:
    """The living processes of a job: its leader, and all that the leader left behind.

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


#: Runs the job script up to N times more, for as long as it ends at a checkpoint with work left.
#: Its process is the job: the warning that it is sent goes on to the script that runs.
CHAIN = """\
export BUNDLE_JOB=$$
child=
trap '[ -z "$child" ] || kill -USR2 "$child"' USR2
for ((turn = 0; turn <= $1; turn++)); do
    bash "$2" & child=$!
    while :; do
        wait "$child"
        status=$?
        [ "$status" -gt 128 ] && kill -0 "$child" 2>/dev/null || break
    done
    [ "$status" = "$3" ] || break
done
exit "$status"
"""


def start(files: RunFiles, environ: Mapping[str, str], follow_ups: int = 0) -> str:
    """Start the run's job script in the background and return its id, ``PID.START``.

    It is the leader of a session of its own: it outlives the terminal. Raises CommandFailed.
    """
    script = str(files.job_script)
    chain = ["-c", CHAIN, "chain", str(follow_ups), script, str(STOPPED_EXIT_CODE)]
    pid = start_session(
        ["bash", *(chain if follow_ups else [script])],
        cwd=files.root,
        env=inherited(environ),
        stdout=files.logs / "start.log",
        stderr=files.logs / "start.log",
    )
    process = read_process(pid)
    return f"{pid}.{process.started if process else 0}"


def is_alive(job_id: str) -> bool:
    """Whether anything of the job still runs, be it ranks whose job script was killed."""
    return bool(session_of(job_id))


def cancel(job_id: str, grace: float = GRACE) -> bool:
    """End the job's whole session: TERM, then KILL after ``grace`` seconds.

    Returns False when it had ended before. Only processes of the session that ``start`` made are
    signalled.
    """
    if not is_alive(job_id):
        return False
    signal_session(job_id, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while is_alive(job_id) and time.monotonic() < deadline:
        time.sleep(0.05)
    signal_session(job_id, signal.SIGKILL)
    return True


def signal_session(job_id: str, number: signal.Signals) -> None:
    for process in session_of(job_id):
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)
