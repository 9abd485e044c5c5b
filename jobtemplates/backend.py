"""What a backend is: jobs as processes of this host, or a scheduler's argument lists and readers.

Nothing here starts a process, nor does a scheduler's backend: :mod:`manifests.rundir.queue` does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, FrozenSet, List, Optional, Pattern, Sequence, Tuple

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


class Backend(ABC):
    """How the jobs of a site are run. Job ids are its own text.

    What is abstract has to be given: a backend that lacks a part cannot be made.
    """

    #: Whether jobs are processes of this host: no queue, no directives, no other nodes, and their
    #: end is seen at once.
    runs_here: bool = False
    #: Seconds between two looks at a job that is waited for.
    ask_seconds: float = 3.0
    #: A shared file system may show a node's last files so many seconds late (nfs(5), acregmin).
    slow_files: float = 4.0
    #: The variable that names the file of a job's hosts, a line each (host, slots), where the
    #: scheduler's settings decide how slots fall on hosts; and what to do where they fall wrongly.
    host_file: str = ""
    slots_next_step: str = ""

    @property
    @abstractmethod
    def name(self) -> str:
        """As site profiles and ``job.json`` give it."""

    @property
    @abstractmethod
    def title(self) -> str:
        """As people call it."""

    @property
    @abstractmethod
    def job_id(self) -> Tuple[Pattern[str], str]:
        """What an id looks like, and the same in words: ids stand on command lines."""

    @property
    @abstractmethod
    def warns(self) -> bool:
        """Whether it sends a signal before it ends a job."""


class Scheduler(Backend):
    """A backend whose jobs wait in a queue, of which commands tell."""

    @property
    @abstractmethod
    def prefix(self) -> str:
        """Of a directive line."""

    @property
    @abstractmethod
    def commands(self) -> Tuple[str, ...]:
        """All that are called, the one that submits first."""

    @property
    @abstractmethod
    def version_question(self) -> Tuple[str, ...]: ...

    @property
    @abstractmethod
    def version_pattern(self) -> str:
        """Finds the version in the answer, as its first group."""

    @property
    @abstractmethod
    def variables(self) -> Tuple[str, ...]:
        """Of the environment, that its commands need."""

    @property
    @abstractmethod
    def away(self) -> str:
        """A pattern in what a command says when it did not reach the scheduler."""

    @property
    @abstractmethod
    def cut_off(self) -> str:
        """Likewise when it reached it, and no answer came."""

    @property
    @abstractmethod
    def owned(self) -> Dict[str, str]:
        """Directives (as :meth:`settings` names them) that bundle sets or that would change what a
        job is, and what a user is to do instead."""

    @abstractmethod
    def header(self, jobname: str, walltime_seconds: Optional[int]) -> List[str]:
        """The directives that any job gets: name, output, working folder, warning signal."""

    @abstractmethod
    def directive(self, key: str, value: str) -> List[str]:
        """An entry of the key ``others`` as directives; none where another key does its work."""

    @abstractmethod
    def settings(self, directive: str) -> FrozenSet[str]:
        """What a directive sets, by names that are equal when two directives collide."""

    @abstractmethod
    def submit(
        self, script: Path, *, options: Sequence[str] = (), after: Optional[str] = None
    ) -> List[str]:
        """Submit ``script``; it may start when the job ``after`` has ended, however it did."""

    @abstractmethod
    def parse_submitted(self, stdout: str) -> str:
        """The id of the new job. Raises Unreadable."""

    @abstractmethod
    def states(self, user: str) -> List[List[str]]:
        """Ways to list the jobs of a user, to be tried in turn until one succeeds.

        All are listed, because a question by id fails as a whole for one id that is gone.
        """

    @abstractmethod
    def parse_states(self, stdout: str) -> Dict[str, QueueEntry]:
        """Id -> entry, of every job listed. Raises Unreadable."""

    @abstractmethod
    def working(self, user: str) -> List[List[str]]:
        """Ways to list a user's living jobs with what :meth:`parse_working` goes by."""

    @abstractmethod
    def parse_working(self, stdout: str, jobname: str, roots: Sequence[Path]) -> List[str]:
        """Ids of those that may be jobs of one run; ``roots``: how its folder may be called.

        Raises Unreadable.
        """

    @abstractmethod
    def cancel(self, ids: Sequence[str]) -> List[str]: ...

    @abstractmethod
    def ending(self, job_id: str) -> List[str]:
        """Ask how a job ended; it may be too long ago, or not recorded at all."""

    @abstractmethod
    def parse_ending(self, stdout: str) -> Optional[JobEnd]: ...

    @abstractmethod
    def nodes_there_are(self, others: Dict[str, str]) -> Optional[List[str]]:
        """Ask how many nodes a job may get; None where the scheduler refuses too many itself."""

    @abstractmethod
    def parse_nodes(self, stdout: str) -> Optional[int]: ...


def job_number(job_id: str) -> str:
    """What ``$JOB_ID`` stands for in the names of log files: the id up to its first dot."""
    return job_id.partition(".")[0]
