"""The single entry point to subprocesses on the host.

Every verb imports its error; what starts processes is imported when one is started.
"""

from __future__ import annotations

import atexit
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, List, Mapping, Optional, Sequence

if TYPE_CHECKING:
    import subprocess

TAIL_LINES = 20


class CommandFailed(Exception):
    """A command that could not be started, ran out of time, or ended with a non-zero status.

    ``returncode`` is None when it never started or was stopped at its time limit, negative when a
    signal ended it.
    """

    def __init__(
        self,
        argv: Sequence[str],
        returncode: Optional[int],
        cwd: Optional[Path],
        stderr: str,
        reason: str = "",
        *,
        timed_out: bool = False,
    ) -> None:
        self.argv = list(argv)
        self.returncode = returncode
        self.cwd = cwd
        self.timed_out = timed_out
        self.stderr_tail = "\n".join(stderr.rstrip().splitlines()[-TAIL_LINES:])
        self.reason = reason or self._ending()
        super().__init__(str(self))

    def _ending(self) -> str:
        if self.returncode is not None and self.returncode < 0:
            import signal

            return f"was ended by signal {signal.Signals(-self.returncode).name}"
        return f"ended with status {self.returncode}"

    def __str__(self) -> str:
        import shlex

        where = f" (in {self.cwd})" if self.cwd else ""
        text = f"`{shlex.join(self.argv)}`{where} {self.reason}"
        return f"{text}:\n{self.stderr_tail}" if self.stderr_tail else text


def not_started(error: OSError) -> str:
    return f"could not be started: {error.strerror}"


@dataclass(frozen=True)
class Completed:
    stdout: str
    stderr: str


def run(
    argv: Sequence[str],
    *,
    cwd: Optional[Path] = None,
    env: Optional[Mapping[str, str]] = None,
    stdin: Optional[str] = None,
    timeout: Optional[float] = None,
    own_session: bool = False,
) -> Completed:
    """Run ``argv`` to its end and return what it printed.

    In a session of its own the terminal's Ctrl-C does not reach it. Raises CommandFailed when it
    cannot be started, exceeds ``timeout`` seconds, or fails.
    """
    import subprocess

    try:
        done = subprocess.run(
            list(argv),
            cwd=cwd,
            env=None if env is None else dict(env),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            encoding="utf-8",  # not the locale's, whatever that is
            errors="replace",
            timeout=timeout,
            start_new_session=own_session,
            check=False,
        )
    except OSError as error:
        raise CommandFailed(argv, None, cwd, "", not_started(error)) from error
    except subprocess.TimeoutExpired as error:
        late = f"did not end within {timeout:g} s"
        raise CommandFailed(argv, None, cwd, "", late, timed_out=True) from error
    if done.returncode != 0:
        raise CommandFailed(argv, done.returncode, cwd, done.stderr or done.stdout)
    return Completed(done.stdout, done.stderr)


#: Popen objects of sessions that are meant to outlive us: dropping one warns of a running child.
_sessions: List[subprocess.Popen[bytes]] = []


@atexit.register
def _collect() -> None:
    """Take the status of sessions that have ended: nobody else may, and they would stay zombies."""
    for process in _sessions:
        process.poll()


def start_session(
    argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], stdout: Path, stderr: Path
) -> int:
    """Start ``argv`` in a session of its own, output in files; return its pid.

    It outlives this process. Raises CommandFailed when it cannot be started.
    """
    import subprocess

    with stdout.open("ab") as out, stderr.open("ab") as err:
        try:
            process = subprocess.Popen(
                list(argv),
                cwd=cwd,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        except OSError as error:
            raise CommandFailed(argv, None, cwd, "", not_started(error)) from error
    _sessions.append(process)
    return process.pid
