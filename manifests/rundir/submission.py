"""Handing a run's job to its backend, and what is asked of a scheduler before that."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from container import atomic
from container.process import CommandFailed, run
from container.shell_word import shell_word, shell_words
from container.trouble import Trouble
from jobtemplates import local
from jobtemplates.backend import Scheduler
from jobtemplates.directives import directives_in
from jobtemplates.schedulers import backend_named
from jobtemplates.sites import Site
from jobtemplates.submitted import Submitted, Unreadable
from manifests.host.context import HostContext
from manifests.record.run_files import RunFiles
from manifests.record.schema import Placement
from manifests.rundir import questions
from manifests.rundir.job import Job, Submitting, read_submitting
from manifests.rundir.questions import (
    Place,
    Questions,
    place_here,
    program_of,
    variables_of,
    why_silent,
)
from manifests.rundir.records import Warn, ignore


class Refused(Trouble):
    """The scheduler did not take a job: nothing was started."""


@dataclass(frozen=True)
class Handed:
    """A script for a scheduler, in the folder where it works; ``go_on``: the words after
    `bundle.py` that look for its job where no answer came."""

    script: Path
    placement: Placement
    go_on: Sequence[str]
    is_array: bool = False

    @property
    def go_on_text(self) -> str:
        return shell_words(["python", "bundle.py", *self.go_on])


def start(
    files: RunFiles,
    placement: Placement,
    host: HostContext,
    follow_ups: int,
    warn: Warn = ignore,
) -> Job:
    """Hand the job script to its backend, with so many follow-up jobs, each held on the one before.

    ``warn`` gets what the scheduler says of a job that it takes. Raises Refused when nothing was
    started, Trouble when that is not known.
    """
    backend = backend_named(placement.scheduler)
    if not isinstance(backend, Scheduler):
        return _job(placement, host, [_start_here(files, host, follow_ups)], follow_ups)
    handed = Handed(files.job_script, placement, ["resume", str(files.root)])
    submitted = _submit_chain(backend, handed, host, follow_ups, warn)
    job = _job(placement, host, [one.job for one in submitted], follow_ups)
    return job.model_copy(update=_where(backend, submitted[0], host))


def start_array(handed: Handed, tasks: int, host: HostContext, warn: Warn = ignore) -> List[Job]:
    """Submit the script of an array of so many tasks: the job of each. Raises as :func:`start`."""
    backend = backend_named(handed.placement.scheduler)
    assert isinstance(backend, Scheduler)
    array, said = _submit(backend, handed, [], host, backend.array.parse_submitted)
    for text in said:
        warn(text)
    where = _where(backend, array, host)
    ids = [backend.array.task_id(array, 1 + number) for number in range(tasks)]
    return [_job(handed.placement, host, [one], 0).model_copy(update=where) for one in ids]


def _where(backend: Scheduler, submitted: Submitted, host: HostContext) -> Dict[str, Any]:
    """What job.json says of the place in which a new job lies."""
    home = Questions(host).home(place_here(backend, host)) or ""
    return {
        "cluster": backend.elsewhere(submitted.cluster, home),
        "home": home,
        "environment": variables_of(backend, host.environ),
        "program": program_of(backend, host),
    }


def _job(placement: Placement, host: HostContext, ids: List[str], follow_ups: int) -> Job:
    return Job(
        backend=placement.scheduler,
        id=ids[0],
        host=host.hostname,
        user=host.user,
        submitted=host.timestamp(),
        follow_ups=follow_ups,
        chain=ids[1:],
    )


def _start_here(files: RunFiles, host: HostContext, follow_ups: int) -> str:
    try:
        return local.start(files, host.environ, follow_ups)
    except CommandFailed as error:
        raise Refused(f"the job script could not be started: {error}", "see: doctor") from error
    except OSError as error:
        raise Refused(
            f"{error.filename or files.root}: cannot be written: {error.strerror}",
            "free some space or get the right to write there, then try again",
        ) from error


def _submit_chain(
    backend: Scheduler, handed: Handed, host: HostContext, follow_ups: int, warn: Warn
) -> List[Submitted]:
    done: List[Submitted] = []
    heard: Dict[str, None] = {}  # each is said once, in order
    try:
        for _ in range(1 + follow_ups):
            one, said = _submit(backend, handed, done[-1:], host, backend.parse_submitted)
            done.append(one)
            heard.update(dict.fromkeys(said))
    except Trouble as error:
        ids = [one.job for one in done]
        cluster = _named_cluster(backend, done[0]) if done else ""
        if ids and not _end(backend, ids, cluster, host):
            end = shell_words(backend.cancel(ids[::-1], cluster))
            raise Trouble(
                [*error.problems, f"job {', '.join(ids)} was taken before that, and not cancelled"],
                f"end it: {end}; then: {handed.go_on_text}",
            ) from error
        raise
    for text in heard:
        warn(text)
    return done


def take_back(jobs: Sequence[Job], host: HostContext) -> bool:
    """End jobs of one scheduler that were just started, with their follow-ups; whether that was
    done."""
    backend = backend_named(jobs[0].backend)
    if isinstance(backend, Scheduler):
        return _end(backend, [name for job in jobs for name in job.ids], jobs[0].cluster, host)
    for job in jobs:
        local.cancel(job.id)
    return True


def _end(backend: Scheduler, ids: Sequence[str], cluster: str, host: HostContext) -> bool:
    """The last first: a follow-up may start as soon as the job before it has ended."""
    try:
        argv = backend.cancel(ids[::-1], cluster)
        questions.ask(place_here(backend, host), argv, host, questions.PATIENCE)
    except CommandFailed:
        return False
    return True


def _named_cluster(backend: Scheduler, submitted: Submitted) -> str:
    """Where the scheduler was asked for another cluster; a PBS server is part of the id."""
    return backend.elsewhere(submitted.cluster, "")


def _submit(
    backend: Scheduler,
    handed: Handed,
    before: Sequence[Submitted],
    host: HostContext,
    parse: Callable[[str], Submitted],
) -> Tuple[Submitted, List[str]]:
    """The new job, and what the scheduler or a filter of the site had to say of it."""
    argv = backend.submit(
        handed.script,
        options=handed.placement.submit_options,
        after=before[0].job if before else None,
        cluster=_named_cluster(backend, before[0]) if before else "",
    )
    late = questions.PATIENCE
    env = local.inherited(host.environ)
    env.update({**variables_of(backend, host.environ), "LC_ALL": "C"})
    try:
        done = run(argv, env=env, cwd=handed.script.parent, timeout=late, own_session=True)
        return parse(done.stdout), _said(argv[0], done.stderr)
    except CommandFailed as error:
        raise _not_taken(backend, argv, error, handed) from error
    except Unreadable as error:
        raise Trouble(
            f"no job id found in {argv[0]}'s output: {str(error).strip()!r}",
            f"look for job {handed.placement.jobname} in the queue, whether it was taken is not "
            f"known; where it is not there: {handed.go_on_text}",
        ) from error


def _said(program: str, stderr: str) -> List[str]:
    lines = (line.strip().removeprefix(f"{program}: ") for line in stderr.splitlines())
    return [f"{program} says: {line}" for line in lines if line]


def _not_taken(
    backend: Scheduler, argv: Sequence[str], error: CommandFailed, handed: Handed
) -> Trouble:
    said = error.stderr_tail.strip()
    if re.search(backend.away, said):
        return Refused(
            f"{backend.title} does not answer: {said}",
            "nothing was submitted; try again when it answers (doctor --site asks it)",
        )
    if error.timed_out or re.search(backend.cut_off, said):
        late = f" within {questions.PATIENCE:g} s" if error.timed_out else ""
        return Trouble(
            f"{backend.title} did not answer{late}: "
            f"whether it took the job is not known{f' ({said})' if said else ''}",
            f"when it answers again, this looks into its queue and goes on: {handed.go_on_text}",
        )
    if error.returncode is None:
        return Refused(
            f"{argv[0]} {error.reason}: this host cannot submit to {backend.title}",
            "submit on a login node of the cluster, or with site: local",
        )
    change, again = "change what it names in the config (or the site profile)", "submit"
    if handed.is_array:
        no_array = "where it takes no such job array: arrays: false in the site profile"
        change, again = f"{change}, or, {no_array} (docs/sites.md)", "try"
    return Refused(
        f"{backend.title} refuses the job: {said or error.reason}", f"{change}, then {again} again"
    )


# --- a job of which no answer came ----------------------------------------------------------


def note_submitting(
    files: RunFiles, placement: Placement, host: HostContext, array: str = "", task: int = 0
) -> None:
    """Until job.json is there: a job may be in the queue of which no file tells. Of an ``array``,
    by its folder, it is a task."""
    backend = backend_named(placement.scheduler)
    if not isinstance(backend, Scheduler):
        return
    noted = Submitting(
        jobname=placement.jobname,
        user=host.user,
        host=host.hostname,
        environment=variables_of(backend, host.environ),
        cluster=backend.cluster_asked(
            [*directives_of(files.job_script, backend.prefix), *placement.submit_options]
        ),
        array=array,
        task=task,
    )
    atomic.write_json(files.submitting, noted.model_dump(mode="json"))


def directives_of(script: Path, prefix: str) -> List[str]:
    """The directive lines of a job script, without their prefix."""
    try:
        text = script.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return directives_in(text, prefix)


def refuse_lost(
    files: RunFiles, placement: Placement, host: HostContext, asked: Optional[Questions] = None
) -> None:
    """Where a scheduler was given the run's job and its answer never came: raise Trouble unless it
    says now that no such job is in its queue."""
    backend = backend_named(placement.scheduler)
    noted = read_submitting(files)
    if noted is None or not isinstance(backend, Scheduler):
        return
    why, found = _look_for_lost(backend, noted, files, asked or Questions(host))
    if why:
        raise Trouble(
            f"{files.root}: whether {backend.title} took its job is not known, and {why}",
            "resume it when the scheduler answers, on a host of the cluster",
        )
    if found:
        end = shell_words(backend.cancel(found[::-1], noted.cluster))
        raise Trouble(
            f"{files.root}: {backend.title} has job {', '.join(found)} of the name "
            f"{noted.jobname}, and never said whether it is this run's",
            f"where it is, wait for its end or end it first: {end}; "
            f"where it is another run's: rm {shell_word(files.submitting)}",
        )


def _look_for_lost(
    backend: Scheduler, noted: Submitting, files: RunFiles, asked: Questions
) -> Tuple[str, List[str]]:
    """(why nothing is known, ids of jobs that may be the run's)."""
    host, why = asked.host, ""
    user = noted.user or host.user
    if noted.environment is None:
        place = place_here(backend, host, noted.cluster)
    else:
        recorded = tuple(sorted(variables_of(backend, noted.environment).items()))
        place = Place(backend, recorded, noted.cluster)
    for argv in backend.working(user, noted.cluster):
        try:
            printed = asked.ask(place, argv)
            roots = [Path(noted.array)] if noted.array else [files.root, files.root.resolve()]
            found = [
                name
                for name in backend.parse_working(printed, noted.jobname, roots)
                if (backend.array.task_of(name) or 0) == noted.task
            ]
        except CommandFailed as error:
            why = f"{backend.title} does not answer: {why_silent(argv, error)}"
            if error.returncode is None:
                break
        except Unreadable:
            why = f"{backend.title} does not answer: {argv[0]} printed what is not known"
        else:
            if not found and user != host.user:
                return f"{backend.title} may not show jobs of account {user} to {host.user}", []
            return "", found
    return why, []


# --- before a run is written ----------------------------------------------------------------


def refuse_too_many_nodes(
    placement: Placement, nodes: int, host: HostContext, site: Optional[Site] = None
) -> None:
    """Raise Trouble where the scheduler would let a job of so many nodes wait for ever."""
    backend = backend_named(placement.scheduler)
    if not isinstance(backend, Scheduler):
        return
    cluster = backend.cluster_asked(_lines(backend, placement, site))
    question = backend.nodes_there_are(placement.others, cluster)
    if question is None:
        return
    try:
        there_are = backend.parse_nodes(Questions(host).ask(place_here(backend, host), question))
    except CommandFailed as error:
        if error.timed_out:
            raise Trouble(
                f"{backend.title} does not answer: {why_silent(question, error)}",
                "nothing was submitted; try again when it answers (doctor --site asks it)",
            ) from error
        return  # submitting will say more
    if there_are is not None and nodes > there_are:
        where = f"on cluster {cluster}" if cluster else "here"
        raise Trouble(
            f"nnodes: {nodes} asked for, {backend.title} has {there_are} {where}: "
            "the job would wait for ever",
            f"use at most {there_are}, or name another partition in others",
        )


def _lines(backend: Scheduler, placement: Placement, site: Optional[Site]) -> List[str]:
    """Directives and options of a job that is not rendered yet, placeholders and all."""
    kind = site.nodetypes.get(placement.nodetype or "") if site else None
    return [
        *(site.directives if site else []),
        *(kind.directives if kind else []),
        *(
            line
            for key, value in placement.others.items()
            for line in backend.directive(key, value)
        ),
        *placement.submit_options,
    ]
