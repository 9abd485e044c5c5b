"""The backend without a scheduler: a job is a process in a session of its own."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Mapping, Optional

from container.process import start_session
from manifests.schema import RunFiles

#: What a job inherits: paths, locale, scratch, and the host MPI's and modules' own settings.
INHERITED = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TMPDIR", "TERM", "LD_LIBRARY_PATH",
)  # fmt: skip
INHERITED_PREFIXES = (
    "LC_", "OMPI_MCA_", "PMIX_MCA_", "UCX_", "MODULE", "LMOD_", "APPTAINER_", "SINGULARITY_",
)  # fmt: skip

#: Seconds that a cancelled job has to end by itself before it is killed.
GRACE = 10.0


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """The allow-listed part of an environment; nothing else reaches the job."""
    return {
        name: value
        for name, value in environ.items()
        if name in INHERITED or name.startswith(INHERITED_PREFIXES)
    }


def process_start(pid: int) -> Optional[int]:
    """Clock ticks after boot at which ``pid`` started, or None when it is gone or a zombie.

    With the pid it names one process for good, since pids are used again
    (proc(5), /proc/[pid]/stat, fields 3 and 22).
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] == "Z" else int(fields[19])


def start(files: RunFiles, environ: Mapping[str, str]) -> str:
    """Start the run's job script in the background and return its id, ``PID.START``.

    It is the leader of a session of its own: it outlives the terminal. Raises CommandFailed.
    """
    pid = start_session(
        ["bash", str(files.job_script)],
        cwd=files.root,
        env=inherited(environ),
        stdout=files.logs / "start.log",
        stderr=files.logs / "start.log",
    )
    return f"{pid}.{process_start(pid) or 0}"


def is_alive(job_id: str) -> bool:
    pid, _, started = job_id.partition(".")
    return process_start(int(pid)) == int(started)


def cancel(job_id: str, grace: float = GRACE) -> bool:
    """End the job's whole session: TERM, then KILL after ``grace`` seconds.

    Returns False when it had ended before. Only processes of the session that ``start`` made are
    signalled.
    """
    if not is_alive(job_id):
        return False
    group = int(job_id.partition(".")[0])
    os.killpg(group, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while is_alive(job_id) and time.monotonic() < deadline:
        time.sleep(0.05)
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
    return True
