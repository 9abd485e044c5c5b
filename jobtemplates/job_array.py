"""Job arrays: many jobs submitted as one, which are its tasks, numbered from 1"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Dict, List, Optional, Sequence

from jobtemplates.submitted import SCHEDULER_LOG, Submitted, only_line


@dataclass(frozen=True)
class JobArray:
    """How one scheduler writes them.

    ``size`` is the directive that makes a job an array, ``number`` the variable of a task's number
    and ``job`` what its job is called, as a shell expands it. ``output`` stands for the number in
    names of output files. ``answer`` finds an array's number and server in what the submitting
    command prints; ``task`` is the id of a task, ``task_number`` finds its number there.
    ``changes`` replaces directives that an array may not have.
    """

    size: str
    number: str
    job: str
    output: str
    answer: str
    task: str
    task_number: str
    changes: Dict[str, str] = field(default_factory=dict)

    def directives(self, lines: Sequence[str], tasks: int) -> List[str]:
        """Those of one job as those of an array of such jobs. A task writes what the scheduler says
        of it below the folder of its number."""
        changed = [self.changes.get(line, line) for line in lines]
        below = f"{self.output}/{SCHEDULER_LOG}"
        return [
            *(line.replace(SCHEDULER_LOG, below) for line in changed),
            self.size.format(tasks=tasks),
        ]

    def parse_submitted(self, stdout: str) -> Submitted:
        """The number of the new array, and where it lies. Raises Unreadable."""
        return Submitted(*only_line(self.answer, stdout))

    def task_id(self, array: Submitted, task: int) -> str:
        server = f".{array.cluster}" if array.cluster else ""
        return self.task.format(array=array.job, task=task, server=server)

    def task_of(self, job_id: str) -> Optional[int]:
        """None for the id of a job that is not an array's task."""
        found = re.search(self.task_number, job_id)
        return None if found is None else int(found[1])
