"""The commands of a site's scheduler: are they there, and of which version?"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Mapping, Optional

from jobtemplates.schedulers import SCHEDULERS
from manifests.host.finding import Finding, fail, ok, warn


@dataclass(frozen=True)
class Commands:
    """``paths``: each command of the scheduler to where it lies, None where it is not on PATH.

    ``answer`` is what the question for the version printed, ``problem`` why it did not; ``silence``
    is why the scheduler itself did not list its jobs.
    """

    paths: Mapping[str, Optional[str]]
    answer: str = ""
    problem: str = ""
    silence: str = ""


def scheduler_finding(site: str, scheduler: str, commands: Optional[Commands]) -> Finding:
    """``commands`` is None for a scheduler that has none."""
    kind = SCHEDULERS.get(scheduler)
    if kind is None or commands is None:
        return ok(f"site {site} has none")
    missing = [name for name, path in commands.paths.items() if path is None]
    if missing:
        return fail(
            f"site {site}: no {', '.join(missing)} on PATH",
            f"work on a host from which {kind.title} jobs are submitted, or load its module",
        )
    where, question = commands.paths[kind.commands[0]], " ".join(kind.version_question)
    if commands.problem:
        return fail(
            f"{kind.title} ({where}) does not answer: {commands.problem}",
            f"make `{question}` work on this host (is it one that submits jobs?)",
        )
    if commands.silence:
        return fail(
            f"{kind.title} does not answer: {commands.silence}",
            "nothing can be submitted from here; try again later, or ask your administrator",
        )
    match = re.search(kind.version_pattern, commands.answer, re.MULTILINE)
    if match is None:
        said = commands.answer.strip().partition("\n")[0]
        return warn(
            f"{kind.title} of unknown version ({where}): `{question}` says {said!r}",
            "see whether these commands are the scheduler's own",
        )
    return ok(f"{kind.title} {match.group(1)} ({where}): {', '.join(kind.commands)}")
