"""Questions to schedulers: all that one call asks of the same one have one time limit."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

from container.process import CommandFailed, run
from jobtemplates import local
from jobtemplates.backend import Scheduler
from manifests.host.context import HostContext
from manifests.rundir.job import Job

#: Seconds in which a scheduler must answer: the commands of a dead one wait for minutes.
PATIENCE = 15.0


@dataclass(frozen=True)
class Place:
    """Where jobs lie: a scheduler, the variables by which its commands find it, and a cluster (or
    server) of it by name, "" for the default one."""

    backend: Scheduler
    variables: Tuple[Tuple[str, str], ...]
    cluster: str = ""


def variables_of(backend: Scheduler, environ: Mapping[str, str]) -> Dict[str, str]:
    return {name: environ[name] for name in backend.variables if name in environ}


def place_here(backend: Scheduler, host: HostContext, cluster: str = "") -> Place:
    """As the commands of this host find it now."""
    return Place(backend, tuple(sorted(variables_of(backend, host.environ).items())), cluster)


def places_of(job: Job, backend: Scheduler, host: HostContext) -> List[Place]:
    """Where to ask for a job: as it was submitted; where that leads nowhere, as commands find the
    scheduler now, if it can be told that it is the same."""
    here = place_here(backend, host, job.cluster)
    if job.environment is None:
        return [here]
    recorded = tuple(sorted(variables_of(backend, job.environment).items()))
    there = Place(backend, recorded, job.cluster)
    return [there] if there == here or not job.home else [there, here]


def program_of(backend: Scheduler, host: HostContext) -> str:
    """Where the command lies that submits; "" where there is none."""
    return shutil.which(backend.commands[0], path=host.environ.get("PATH")) or ""


def ask(place: Place, argv: Sequence[str], host: HostContext, timeout: float) -> str:
    """What a command of the scheduler prints, in a job's allow-listed environment.

    Raises CommandFailed.
    """
    env = local.inherited(host.environ)
    env.update({**dict(place.variables), "LC_ALL": "C"})
    return run(argv, env=env, timeout=timeout, own_session=True).stdout


class Questions:
    """What one call asks. All questions to one scheduler have PATIENCE seconds together."""

    def __init__(self, host: HostContext) -> None:
        self.host = host
        self._left: Dict[Tuple[str, Tuple[Tuple[str, str], ...]], float] = {}
        self._homes: Dict[Place, Optional[str]] = {}

    def ask(self, place: Place, argv: Sequence[str]) -> str:
        """Raises CommandFailed, at once where the time is over."""
        key = (place.backend.name, place.variables)
        left = self._left.get(key, PATIENCE)
        late = f"did not end within {PATIENCE:g} s"
        if left <= 0:
            raise CommandFailed(argv, None, None, "", f"was not asked: {late}", timed_out=True)
        begun = time.monotonic()
        try:
            return ask(place, argv, self.host, left)
        except CommandFailed as error:
            if error.timed_out and left < PATIENCE:
                late = f"and the questions before it {late}"
                raise CommandFailed(argv, None, None, "", late, timed_out=True) from error
            raise
        finally:
            self._left[key] = left - (time.monotonic() - begun)

    def home(self, place: Place) -> Optional[str]:
        """What the scheduler calls itself; None where it does not say."""
        if place not in self._homes:
            try:
                said = self.ask(place, place.backend.home())
                self._homes[place] = place.backend.parse_home(said) or None
            except CommandFailed:
                self._homes[place] = None
        return self._homes[place]


def why_silent(argv: Sequence[str], error: CommandFailed) -> str:
    """The last thing that a command said, or why it said nothing."""
    last = error.stderr_tail.splitlines()[-1:] or [error.reason]
    return f"{argv[0]} {error.reason}" if error.returncode is None else last[0]
