"""Jobs in their queues: looked for and cancelled, whatever their backend."""

from __future__ import annotations

from dataclasses import replace
from typing import Dict, List, Optional, Sequence, Set, Tuple

from container.process import CommandFailed
from container.trouble import Trouble
from jobtemplates import local
from jobtemplates.backend import JobEnd, QueueEntry, Scheduler
from jobtemplates.schedulers import backend_named
from jobtemplates.submitted import SCHEDULER_LOG, Unreadable
from manifests.host.context import HostContext
from manifests.record.run_files import RunFiles
from manifests.rundir import questions
from manifests.rundir.job import Job, read_job
from manifests.rundir.questions import Place, Questions, places_of, program_of, why_silent
from manifests.rundir.records import Warn, ignore

#: So many questions after single jobs that left the queue; further ones stay unanswered.
_MOST_QUESTIONS = 20

#: Seconds that a job on this host has to end when it has left its exit code.
SETTLE_SECONDS = 30.0

UNLISTED = "it lives, and is not in the list of the account's jobs"

Listing = Dict[str, QueueEntry]


def cancel(files: RunFiles, job: Job, host: HostContext, queues: Optional[Queues] = None) -> bool:
    """End a job, its follow-ups and what lives of earlier ones; False when all had ended before.

    Raises Trouble, and ends nothing of which it is not known that it is the run's.
    """
    backend = backend_named(job.backend)
    if not isinstance(backend, Scheduler):
        try:
            return local.cancel(job.id)
        except PermissionError as error:
            raise another_accounts(files, job) from error
    queues = queues or Queues(host)
    entries = queues.entries(job)
    if entries is None:
        raise Trouble(
            f"{files.root}: {queues.trouble(job)}: nothing was cancelled",
            "try again when it answers, on a host of the cluster",
        )
    entries = [*(queues.entries(job, job.earlier) or []), *entries]
    alive = [name for name, entry in entries if entry.state in ("queued", "running")]
    unseen = [(name, entry.why) for name, entry in entries if entry.state == "unknown"]
    if not alive and not unseen and queues.ending(job) is None:
        unseen = [(name, UNLISTED) for name in job.ids if name in queues.unlisted]
    if alive:
        place = queues.place(job, backend)
        try:
            # The last first: a follow-up may start as soon as the job before it has ended.
            argv = backend.cancel(alive[::-1], job.cluster)
            questions.ask(place, argv, host, questions.PATIENCE)
        except CommandFailed as error:
            said = error.stderr_tail or error.reason
            raise Trouble(
                f"{files.root}: {backend.title} did not cancel: {said}", "see: status"
            ) from error
    if unseen:
        raise Trouble(
            [f"{files.root}: job {name}: {why}: it was not cancelled" for name, why in unseen],
            f"cancel it where it is seen: as {job.user or 'its account'} on host {job.host}",
        )
    return bool(alive)


def another_accounts(files: RunFiles, job: Job) -> Trouble:
    """A job on this host that this account may not signal."""
    whose = f"account {job.user}" if job.user else "another account"
    return Trouble(
        f"{files.root}: its job is one of {whose}: it was not cancelled",
        f"cancel it as {job.user or 'that account'}",
    )


def settle(job: Job, host: HostContext) -> None:
    """Wait a little for the last processes of a job whose end its files tell already, and end what
    it left. Only of a job on this host: a scheduler sees to that for its own."""
    if is_here(job, host):
        local.wait_until_gone(job.id, SETTLE_SECONDS)
        local.end_helpers(job.id)


def is_here(job: Job, host: HostContext) -> bool:
    """Whether the job is one of processes on this very host."""
    return not isinstance(backend_named(job.backend), Scheduler) and job.host == host.hostname


class Queues:
    """What the schedulers say of jobs at one moment: each is asked once for all of a user's jobs,
    and all questions to one have one time limit.

    ``warn`` gets a sentence on a scheduler that does not answer; the jobs of others do not depend
    on it.
    """

    def __init__(self, host: HostContext, warn: Warn = ignore) -> None:
        self._host = host
        self._warn = warn
        self.questions = Questions(host)
        self._listings: Dict[Tuple[Place, str], Tuple[Optional[Listing], str]] = {}
        self._endings = 0
        self._silent: set[Place] = set()
        #: Jobs that are in no list, and of which a question by id tells that they live.
        self.unlisted: Set[str] = set()

    def __call__(self, files: RunFiles) -> QueueEntry:
        """The job of a run with its follow-ups, as one entry."""
        job = read_job(files)
        if job is None:
            return QueueEntry("unknown")
        entry = self.entry(job)
        return _logged(files, job) or entry if entry.state == "vanished" else entry

    def entry(self, job: Job) -> QueueEntry:
        backend = backend_named(job.backend)
        if not isinstance(backend, Scheduler):
            if job.host != self._host.hostname:
                return QueueEntry("unknown", f"its job is one of host {job.host}")
            return QueueEntry("running" if local.is_alive(job.id) else "ended")
        entries = self.entries(job)
        if entries is None:
            return QueueEntry("unknown", self.trouble(job))
        for state in ("running", "queued", "unknown"):
            for name, entry in (*entries, *(self.entries(job, job.earlier) or [])):
                if entry.state == state:
                    return replace(entry, job=name)
        ends = [entry.why for _, entry in entries if entry.state == "ended"]
        end = None if ends else self.ending(job)
        if ends or end is not None:
            words = end.words if end is not None else ends[-1]
            return QueueEntry("ended", f"{backend.title}: {words}" if words else "")
        for name in job.ids:
            if name in self.unlisted:
                return QueueEntry("unknown", f"{backend.title}: {UNLISTED}", job=name)
        return QueueEntry("vanished", f"{backend.title} knows no such job any more")

    def entries(
        self, job: Job, ids: Optional[Sequence[str]] = None
    ) -> Optional[List[Tuple[str, QueueEntry]]]:
        """Each job of the chain, or each of ``ids``, with its entry; None when the scheduler does
        not answer, or another one does.

        A job that is not listed has vanished only where the list would show it.
        """
        backend = backend_named(job.backend)
        if not isinstance(backend, Scheduler):
            return None
        listing, _ = self._look(job, backend)
        if listing is None:
            return None
        absent = QueueEntry("vanished")
        if job.user and job.user != self._host.user:
            shown = f"{backend.title} may not show it to {self._host.user}"
            absent = QueueEntry("unknown", f"its job is one of account {job.user}: {shown}")
        names = job.ids if ids is None else ids
        found = [(name, listing.get(backend.listed_as(name), absent)) for name in names]
        return [(name, self._ended(job, backend, name, entry)) for name, entry in found]

    def _ended(self, job: Job, backend: Scheduler, name: str, entry: QueueEntry) -> QueueEntry:
        """Of a job that may be hidden, its end may be known all the same."""
        if entry.state != "unknown" or job.user == self._host.user:
            return entry
        end = self._ask_ending(job, backend, name)
        return entry if end is None else QueueEntry("ended")

    def trouble(self, job: Job) -> str:
        """Why :meth:`entries` is None."""
        backend = backend_named(job.backend)
        return self._look(job, backend)[1] if isinstance(backend, Scheduler) else ""

    def place(self, job: Job, backend: Scheduler) -> Place:
        """Where the job was found, or else looked for first."""
        places = places_of(job, backend, self._host)
        for place in places:
            if self._listings.get((place, job.user), (None, ""))[0] is not None:
                return place
        return places[0]

    def ending(self, job: Job) -> Optional[JobEnd]:
        """How the last job of a chain that has one ended; None where the scheduler does not say."""
        backend = backend_named(job.backend)
        if not isinstance(backend, Scheduler):
            return None
        for name in (*job.chain[::-1], job.id):
            end = self._ask_ending(job, backend, name)
            if end is not None:
                return end
        return None

    def _ask_ending(self, job: Job, backend: Scheduler, name: str) -> Optional[JobEnd]:
        self._endings += 1
        place = self.place(job, backend)
        if self._endings > _MOST_QUESTIONS or place in self._silent:
            return None
        argv = backend.ending(name, job.cluster)
        try:
            printed = self.questions.ask(place, argv)
            if backend.shows_living(printed):
                self.unlisted.add(name)
            return backend.parse_ending(printed)
        except CommandFailed as error:
            if error.timed_out:
                self._silent.add(place)
                self._warn(
                    f"{backend.title} does not answer: {why_silent(argv, error)}; "
                    "how jobs that left its queue ended is not known"
                )
            return None

    def _look(self, job: Job, backend: Scheduler) -> Tuple[Optional[Listing], str]:
        """The listing in which the job would stand, or None and why."""
        listing, why = None, ""
        for place in places_of(job, backend, self._host):
            other = self._another(job, place)
            if other:
                why = why or other
                continue
            key = (place, job.user)
            if key not in self._listings:
                self._listings[key] = self._list(place, job.user)
            listing, silence = self._listings[key]
            if listing is not None:
                return listing, ""
            why = why or silence
        return None, why

    def _another(self, job: Job, place: Place) -> str:
        """Why the scheduler that answers may be another one than the job's; "" where it is not."""
        backend, host = place.backend, self._host
        if job.cluster or not job.program:
            return ""  # asked by its name; or a job of before this was recorded
        program = program_of(backend, host)
        recorded = tuple(sorted((job.environment or {}).items()))
        if job.host == host.hostname and job.program == program and recorded == place.variables:
            return ""
        if job.home:
            home = self.questions.home(place)
            if home == job.home:
                return ""
            answers = "does not say its name" if home is None else f"is {home}"
            return f"its job is one of {backend.title} {job.home}, {backend.title} here {answers}"
        if job.program == program or not program:
            return ""
        return (
            f"its job was submitted by {job.program}, here is {program}: "
            "whether they are of one cluster is not known"
        )

    def _list(self, place: Place, user: str) -> Tuple[Optional[Listing], str]:
        backend, why = place.backend, ""
        for argv in backend.states(user, place.cluster):
            try:
                return backend.parse_states(self.questions.ask(place, argv)), ""
            except CommandFailed as error:
                why = why_silent(argv, error)
                if error.returncode is None:
                    break
            except Unreadable as error:
                why = f"{argv[0]} printed what is not known: {str(error).strip()[:80]!r}"
        trouble = f"{backend.title} does not answer: {why}"
        self._warn(f"{trouble}; the state of its jobs is not known")
        return None, trouble


def _logged(files: RunFiles, job: Job) -> Optional[QueueEntry]:
    """Of a job that its scheduler has forgotten, the end that stands in the scheduler's own log."""
    backend = backend_named(job.backend)
    if not isinstance(backend, Scheduler):
        return None
    try:
        log = (files.root / SCHEDULER_LOG).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    words = backend.logged_end(log, job.ids[-1])
    return QueueEntry("ended", f"{backend.title}: {words}") if words else None
