"""What a backend is: jobs as processes of this host, or a scheduler's argument lists and readers.

Nothing here starts a process, nor does a scheduler's backend: :mod:`manifests.rundir.queue` does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, FrozenSet, List, Literal, Optional, Pattern, Sequence, Tuple

from jobtemplates.job_array import JobArray
from jobtemplates.submitted import Submitted

#: ``vanished``: the scheduler answers, would show the job, and does not know it (any more).
#: ``unknown``: it does not answer, cannot be asked from here, or gives a state that is not known.
#: Neither says how the job ended.
JobState = Literal["queued", "running", "ended", "vanished", "unknown"]


@dataclass(frozen=True)
class QueueEntry:
    """One job in its queue; ``why`` is the scheduler's reason for its state, or ``""``.

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

    #: How a shell gives options to the command that submits, by the beginning of a variable's name.
    option_variables: str = ""

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

    @property
    @abstractmethod
    def array(self) -> JobArray:
        """How it writes job arrays."""

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
        self,
        script: Path,
        *,
        options: Sequence[str] = (),
        after: Optional[str] = None,
        cluster: str = "",
    ) -> List[str]:
        """Submit ``script``, which lies in its run directory; it may start when the job ``after``,
        on ``cluster``, has ended, however it did."""

    @abstractmethod
    def output(self, run: Path) -> List[str]:
        """Words that make the scheduler write into its own log in this very folder, where
        the directive alone would not: names of output files are patterns."""

    def output_warning(self, run: Path) -> Optional[str]:
        """Where no words do it, and what the scheduler has to say is lost."""
        return None

    @abstractmethod
    def parse_submitted(self, stdout: str) -> Submitted:
        """The new job: a line that holds only its id, in the form that the manual gives.

        Raises Unreadable where there is no such line, or more than one.
        """

    @abstractmethod
    def cluster_asked(self, lines: Sequence[str]) -> str:
        """The cluster (or server) that directives and options send a job to; "" the default one."""

    @abstractmethod
    def home(self) -> List[str]:
        """Ask what the scheduler calls itself that its commands speak to."""

    @abstractmethod
    def parse_home(self, stdout: str) -> str:
        """ "" where it does not say."""

    @abstractmethod
    def elsewhere(self, cluster: str, home: str) -> str:
        """``cluster`` of a new job as its questions must name it; "" where that is ``home``."""

    @abstractmethod
    def states(self, user: str, cluster: str = "") -> List[List[str]]:
        """Ways to list the jobs of a user, to be tried in turn until one succeeds.

        All are listed, because a question by id fails as a whole for one id that is gone.
        """

    def listed_as(self, job_id: str) -> str:
        """By which name :meth:`parse_states` has a job."""
        return job_number(job_id)

    @abstractmethod
    def parse_states(self, stdout: str) -> Dict[str, QueueEntry]:
        """Id -> entry, of every job listed; ``unknown`` with the scheduler's word for a state that
        is in no manual. Raises Unreadable."""

    @abstractmethod
    def working(self, user: str, cluster: str = "") -> List[List[str]]:
        """Ways to list a user's living jobs with what :meth:`parse_working` goes by."""

    @abstractmethod
    def parse_working(self, stdout: str, jobname: str, roots: Sequence[Path]) -> List[str]:
        """Ids of those that may be jobs of one run; ``roots``: how its folder may be called.

        Raises Unreadable.
        """

    @abstractmethod
    def cancel(self, ids: Sequence[str], cluster: str = "") -> List[str]: ...

    @abstractmethod
    def warn(self, job_id: str, cluster: str = "") -> List[str]:
        """Send a running job's script the warning signal, USR2: it saves, then ends."""

    @abstractmethod
    def ending(self, job_id: str, cluster: str = "") -> List[str]:
        """Ask how a job ended; it may be too long ago, or not recorded at all."""

    @abstractmethod
    def parse_ending(self, stdout: str) -> Optional[JobEnd]: ...

    def logged_end(self, log: str, job_id: str) -> str:
        """How it ended the job, by what its own log in the run directory says; "" where that says
        nothing. The log outlives the scheduler's memory."""
        return ""

    @abstractmethod
    def shows_living(self, stdout: str) -> bool:
        """Whether the answer to :meth:`ending` shows a job that has not ended."""

    @abstractmethod
    def nodes_there_are(self, others: Dict[str, str], cluster: str = "") -> Optional[List[str]]:
        """Ask how many nodes a job may get; None where the scheduler refuses too many itself, and
        where it chooses among clusters."""

    @abstractmethod
    def parse_nodes(self, stdout: str) -> Optional[int]: ...


def account(user: str) -> str:
    """A user as commands take it: ``uid 1000`` (an account without a name) by its number."""
    return user[len("uid ") :] if user.startswith("uid ") else user


def job_number(job_id: str) -> str:
    """What ``$JOB_ID`` stands for in the names of log files: the id up to its first dot."""
    return job_id.partition(".")[0]
