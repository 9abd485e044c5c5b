"""The door to schedulers: jobs are started, looked for and cancelled here, whatever their backend.

Every command has a time limit, and its environment is the allow-listed one of a job.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

from container.process import CommandFailed, run
from container.trouble import Trouble
from jobtemplates import local
from jobtemplates.backend import JobEnd, QueueEntry, Scheduler, Unreadable, job_number
from jobtemplates.schedulers import backend_named
from jobtemplates.script import quoted
from manifests.host.context import HostContext
from manifests.record.schema import Placement, RunFiles
from manifests.rundir.job import Job, read_job
from manifests.rundir.records import Warn, ignore

#: Seconds in which a scheduler must answer: the commands of a dead one wait for minutes.
PATIENCE = 15.0

#: So many questions after single jobs that left the queue; further ones stay unanswered.
_MOST_QUESTIONS = 20


class Refused(Trouble):
    """The scheduler did not take a job: nothing was started."""


def ask(
    backend: Scheduler, argv: Sequence[str], environ: Mapping[str, str], **where: object
) -> str:
    """What a command of the scheduler prints. Raises CommandFailed."""
    env = local.inherited(environ)
    env.update({name: environ[name] for name in backend.variables if name in environ})
    return run(argv, env={**env, "LC_ALL": "C"}, timeout=PATIENCE, **where).stdout  # type: ignore[arg-type]


# --- starting and ending --------------------------------------------------------------------


def start(files: RunFiles, placement: Placement, host: HostContext, follow_ups: int) -> Job:
    """Hand the job script to its backend, with so many follow-up jobs, each held on the one before.

    Raises Refused when nothing was started, Trouble when that is not known.
    """
    backend = backend_named(placement.scheduler)
    if isinstance(backend, Scheduler):
        ids = _submit_chain(backend, files, placement, host, follow_ups)
    else:
        ids = [local.start(files, host.environ, follow_ups)]
    return Job(
        backend=placement.scheduler,
        id=ids[0],
        host=host.hostname,
        user=host.user,
        submitted=host.timestamp(),
        follow_ups=follow_ups,
        chain=ids[1:],
    )


def _submit_chain(
    backend: Scheduler, files: RunFiles, placement: Placement, host: HostContext, follow_ups: int
) -> List[str]:
    ids: List[str] = []
    try:
        for _ in range(1 + follow_ups):
            ids.append(_submit(backend, files, placement, ids[-1:], host))
    except Trouble:
        if ids:
            with suppress(CommandFailed):
                ask(backend, backend.cancel(ids[::-1]), host.environ)
        raise
    return ids


def _submit(
    backend: Scheduler,
    files: RunFiles,
    placement: Placement,
    before: List[str],
    host: HostContext,
) -> str:
    argv = backend.submit(
        files.job_script, options=placement.submit_options, after=before[0] if before else None
    )
    try:
        printed = ask(backend, argv, host.environ, cwd=files.root)
        return backend.parse_submitted(printed)
    except CommandFailed as error:
        said = error.stderr_tail.strip()
        if re.search(backend.away, said):
            raise Refused(
                f"{backend.title} does not answer: {said}",
                "nothing was submitted; try again when it answers (doctor --site asks it)",
            ) from error
        if error.timed_out or re.search(backend.cut_off, said):
            late = f" within {PATIENCE:g} s" if error.timed_out else ""
            raise Trouble(
                f"{backend.title} did not answer{late}: "
                f"whether it took the job is not known{f' ({said})' if said else ''}",
                "when it answers again, this looks into its queue and goes on: "
                f"python bundle.py resume {quoted(str(files.root))}",
            ) from error
        if error.returncode is None:
            raise Refused(
                f"{argv[0]} {error.reason}: this host cannot submit to {backend.title}",
                "submit on a login node of the cluster, or with site: local",
            ) from error
        raise Refused(
            f"{backend.title} refuses the job: {said or error.reason}",
            "change what it names in the config (or the site profile), then submit again",
        ) from error
    except Unreadable as error:
        raise Trouble(
            f"{argv[0]} printed no job number that is known: {str(error).strip()[:200]!r}",
            f"look for job {placement.jobname} in the queue; please report this text",
        ) from error


def cancel(files: RunFiles, job: Job, host: HostContext) -> bool:
    """End a job, its follow-ups and what lives of earlier ones; False when all had ended before.

    Raises Trouble.
    """
    backend = backend_named(job.backend)
    if not isinstance(backend, Scheduler):
        return local.cancel(job.id)
    queues = Queues(host)
    entries = queues.entries(job)
    if entries is None:
        raise Trouble(
            f"{files.root}: {queues.trouble(job)}: nothing was cancelled",
            "try again when it answers, on a host of the cluster",
        )
    entries = [*(queues.entries(job, job.earlier) or []), *entries]
    alive = [name for name, entry in entries if entry.state in ("queued", "running")]
    if not alive:
        return False
    try:
        # The last first: a follow-up may start as soon as the job before it has ended.
        ask(backend, backend.cancel(alive[::-1]), host.environ)
    except CommandFailed as error:
        raise Trouble(
            f"{files.root}: {backend.title} did not cancel: {error.stderr_tail or error.reason}",
            "see: status",
        ) from error
    return True


def refuse_lost(files: RunFiles, placement: Placement, host: HostContext) -> None:
    """Where a scheduler was given the run's job and its answer never came: raise Trouble unless it
    says now that no such job is in its queue."""
    backend = backend_named(placement.scheduler)
    if not files.submitting.exists() or not isinstance(backend, Scheduler):
        return
    why, roots = "", [files.root, files.root.resolve()]
    for argv in backend.working(host.user):
        try:
            printed = ask(backend, argv, host.environ)
            found = backend.parse_working(printed, placement.jobname, roots)
            break
        except CommandFailed as error:
            why = error.stderr_tail or error.reason
        except Unreadable:
            why = f"{argv[0]} printed what is not known"
    else:
        raise Trouble(
            f"{files.root}: whether {backend.title} took its job is not known, and {backend.title} "
            f"does not answer: {why}",
            "resume it when the scheduler answers, on a host of the cluster",
        )
    if found:
        end = quoted(backend.cancel(found[::-1]))
        raise Trouble(
            f"{files.root}: {backend.title} has job {', '.join(found)} of the name "
            f"{placement.jobname}, and never said whether it is this run's",
            f"where it is, wait for its end or end it first: {end}; "
            f"where it is another run's: rm {quoted(str(files.submitting))}",
        )


def refuse_too_many_nodes(placement: Placement, nodes: int, host: HostContext) -> None:
    """Raise Trouble where the scheduler would let a job of so many nodes wait for ever."""
    backend = backend_named(placement.scheduler)
    if not isinstance(backend, Scheduler):
        return
    question = backend.nodes_there_are(placement.others)
    if question is None:
        return
    try:
        there_are = backend.parse_nodes(ask(backend, question, host.environ))
    except CommandFailed:
        return  # submitting will say more
    if there_are is not None and nodes > there_are:
        raise Trouble(
            f"nnodes: {nodes} asked for, {backend.title} has {there_are} here: "
            "the job would wait for ever",
            f"use at most {there_are}, or name another partition in others",
        )


# --- looking --------------------------------------------------------------------------------


class Queues:
    """What the schedulers say of jobs at one moment: each is asked once for all of a user's jobs.

    ``warn`` is told of a scheduler that does not answer; the jobs of others are not concerned.
    """

    def __init__(self, host: HostContext, warn: Warn = ignore) -> None:
        self._host = host
        self._warn = warn
        self._listings: Dict[Tuple[str, str], Optional[Dict[str, QueueEntry]]] = {}
        self._troubles: Dict[Tuple[str, str], str] = {}
        self._questions = 0

    def __call__(self, files: RunFiles) -> QueueEntry:
        """The job of a run with its follow-ups, as one entry."""
        job = read_job(files)
        return QueueEntry("unknown") if job is None else self.entry(job)

    def entry(self, job: Job) -> QueueEntry:
        backend = backend_named(job.backend)
        if not isinstance(backend, Scheduler):
            if job.host != self._host.hostname:
                return QueueEntry("unknown", f"its job is one of host {job.host}")
            return QueueEntry("running" if local.is_alive(job.id) else "ended")
        entries = self.entries(job)
        if entries is None:
            return QueueEntry("unknown", self.trouble(job))
        for state in ("running", "queued"):
            for name, entry in (*entries, *(self.entries(job, job.earlier) or [])):
                if entry.state == state:
                    return replace(entry, job=name)
        if any(entry.state == "ended" for _, entry in entries) or self.ending(job) is not None:
            return QueueEntry("ended")
        return QueueEntry("vanished", f"{backend.title} knows no such job any more")

    def entries(
        self, job: Job, ids: Optional[Sequence[str]] = None
    ) -> Optional[List[Tuple[str, QueueEntry]]]:
        """Each job of the chain, or each of ``ids``, with its entry; None when the scheduler does
        not answer."""
        backend = backend_named(job.backend)
        listing = self._listing(backend, job) if isinstance(backend, Scheduler) else None
        if listing is None:
            return None
        vanished = QueueEntry("vanished")
        names = job.ids if ids is None else ids
        return [(name, listing.get(job_number(name), vanished)) for name in names]

    def trouble(self, job: Job) -> str:
        return self._troubles.get((job.backend, job.user), "")

    def ending(self, job: Job) -> Optional[JobEnd]:
        """How the last job of a chain that has one ended; None where the scheduler does not say."""
        backend = backend_named(job.backend)
        if not isinstance(backend, Scheduler):
            return None
        for name in (*job.chain[::-1], job.id):
            self._questions += 1
            if self._questions > _MOST_QUESTIONS:
                return None
            with suppress(CommandFailed):
                ending = backend.parse_ending(
                    ask(backend, backend.ending(name), self._host.environ)
                )
                if ending is not None:
                    return ending
        return None

    def _listing(self, backend: Scheduler, job: Job) -> Optional[Dict[str, QueueEntry]]:
        key = (job.backend, job.user)
        if key not in self._listings:
            self._listings[key] = self._ask(backend, job.user, key)
        return self._listings[key]

    def _ask(
        self, backend: Scheduler, user: str, key: Tuple[str, str]
    ) -> Optional[Dict[str, QueueEntry]]:
        why = ""
        for argv in backend.states(user):
            try:
                return backend.parse_states(ask(backend, argv, self._host.environ))
            except CommandFailed as error:
                last = error.stderr_tail.splitlines()[-1:] or [error.reason]
                why = f"{argv[0]} {error.reason}" if error.returncode is None else last[0]
                if error.returncode is None:
                    break
            except Unreadable as error:
                why = f"{argv[0]} printed what is not known: {str(error).strip()[:80]!r}"
        self._troubles[key] = f"{backend.title} does not answer: {why}"
        self._warn(f"{self._troubles[key]}; the state of its jobs is not known")
        return None
