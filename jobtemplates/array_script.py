"""The script of a job array: job scripts that ask for the same, each run as a task"""

from __future__ import annotations

from pathlib import Path
from typing import Optional, Sequence

from jobtemplates.backend import Scheduler
from jobtemplates.directives import directives_in
from jobtemplates.script import Verbatim, script_environment

TEMPLATE = "array.sh.j2"


def render_array(scripts: Sequence[str], backend: Scheduler, folder: Path) -> Optional[str]:
    """The script of an array whose task N runs ``folder/N/job.sh``; None where these scripts cannot
    be one: they ask for different things, or the folder's name means something to the scheduler.
    """
    asked = {tuple(directives_in(script, backend.prefix)) for script in scripts}
    if len(asked) != 1 or backend.output(folder):
        return None
    lines = backend.array.directives(list(asked.pop()), len(scripts))
    values = {
        "prefix": Verbatim(backend.prefix),
        "directives": [Verbatim(line) for line in lines],
        "job": Verbatim(backend.array.job),
        "number": Verbatim(backend.array.number),
        "folder": str(folder),
    }
    return script_environment().get_template(TEMPLATE).render(values)
