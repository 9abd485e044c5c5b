"""What a scheduler answers to a new job, and where it writes what it has to say of it"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Tuple

#: What the scheduler itself has to say of a job: in its run directory, where it works.
SCHEDULER_LOG = "logs/scheduler.log"


@dataclass(frozen=True)
class Submitted:
    """``cluster``: where the scheduler says that the job lies; "" where it does not say."""

    job: str
    cluster: str = ""


class Unreadable(ValueError):
    """A command of the scheduler printed what its reader does not know."""


def only_line(pattern: str, stdout: str) -> Tuple[str, ...]:
    """The groups of the one line that matches as a whole. Raises Unreadable."""
    matches = {
        match.groups("")
        for line in stdout.splitlines()
        if (match := re.fullmatch(pattern, line.strip()))
    }
    if len(matches) != 1:
        raise Unreadable(stdout)
    return matches.pop()
