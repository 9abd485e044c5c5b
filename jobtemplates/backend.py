"""What every scheduler's backend is: argument lists to be run and readers of what they print.

Nothing here or in a backend starts a process: :mod:`manifests.rundir.queue` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Dict, FrozenSet, List, Optional, Protocol, Sequence, Tuple

from typing_extensions import Literal

#: ``vanished``: the scheduler answers and does not know the job (any more). ``unknown``: it does
#: not answer, or cannot be asked from here. Neither says how the job ended.
JobState = Literal["queued", "running", "ended", "vanished", "unknown"]


@dataclass(frozen=True)
class QueueEntry:
    """One job in its queue; ``why`` is the scheduler's reason for a job that waits, or ``""``.

    ``job`` is its id where the entry stands for several of one run: that of the one that lives.
    """

    state: JobState
    why: str = ""
    job: str = ""


@dataclass(frozen=True)
class JobEnd:
    """How the scheduler says that a job ended; a status above 128 is 128 + the signal's number."""

    exit_code: Optional[int]
    words: str


class Unreadable(ValueError):
    """A command of the scheduler printed what its reader does not know."""


class Backend(Protocol):
    """One scheduler. Job ids are its own text."""

    name: str
    title: str  # as people call it
    prefix: str  # of a directive line
    variables: Tuple[str, ...]  # of the environment, that its commands need
    away: str  # a pattern in what a command says when it did not reach the scheduler
    cut_off: str  # likewise when it reached it, and no answer came
    warns: bool  # whether it sends a signal before it ends a job

    #: Directives (as :meth:`settings` names them) that bundle sets or that would change what a
    #: job is, and what a user is to do instead.
    owned: Dict[str, str]

    def header(self, jobname: str, walltime_seconds: Optional[int]) -> List[str]:
        """The directives that any job gets: name, output, working folder, warning signal."""

    def directive(self, key: str, value: str) -> List[str]:
        """An entry of the key ``others`` as directives; none where another key does its work."""

    def settings(self, directive: str) -> FrozenSet[str]:
        """What a directive sets, by names that are equal when two directives collide."""

    def submit(
        self, script: Path, *, options: Sequence[str] = (), after: Optional[str] = None
    ) -> List[str]:
        """Submit ``script``; it may start when the job ``after`` has ended, however it did."""

    def parse_submitted(self, stdout: str) -> str:
        """The id of the new job. Raises Unreadable."""

    def states(self, user: str) -> List[List[str]]:
        """Ways to list the jobs of a user, to be tried in turn until one succeeds.

        All are listed, because a question by id fails as a whole for one id that is gone.
        """

    def parse_states(self, stdout: str) -> Dict[str, QueueEntry]:
        """Id -> entry, of every job listed. Raises Unreadable."""

    def working(self, user: str) -> List[List[str]]:
        """Ways to list a user's living jobs with what :meth:`parse_working` goes by."""

    def parse_working(self, stdout: str, jobname: str, roots: Sequence[Path]) -> List[str]:
        """Ids of those that may be jobs of one run; ``roots``: how its folder may be called.

        Raises Unreadable.
        """

    def cancel(self, ids: Sequence[str]) -> List[str]: ...

    def ending(self, job_id: str) -> List[str]:
        """Ask how a job ended; it may be too long ago, or not recorded at all."""

    def parse_ending(self, stdout: str) -> Optional[JobEnd]: ...

    def nodes_there_are(self, others: Dict[str, str]) -> Optional[List[str]]:
        """Ask how many nodes a job may get; None where the scheduler refuses too many itself."""

    def parse_nodes(self, stdout: str) -> Optional[int]: ...


def job_number(job_id: str) -> str:
    """What ``$JOB_ID`` stands for in the names of log files: the id up to its first dot."""
    return job_id.partition(".")[0]
