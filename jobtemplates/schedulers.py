"""The backends by name, as site profiles and ``job.json`` give it: one entry each.

Besides its entry a scheduler has a template, ``scripts/<name>.sh.j2``.
"""

from __future__ import annotations

from typing import Dict, Tuple

from container.trouble import Trouble
from jobtemplates.backend import Backend, Scheduler
from jobtemplates.gridengine import GridEngine
from jobtemplates.local import Local
from jobtemplates.pbs import Pbs
from jobtemplates.slurm import Slurm

_SCHEDULERS: Tuple[Scheduler, ...] = (Slurm(), GridEngine(), Pbs())

SCHEDULERS: Dict[str, Scheduler] = {backend.name: backend for backend in _SCHEDULERS}
BACKENDS: Dict[str, Backend] = {
    backend.name: backend for backend in (Local(), *SCHEDULERS.values())
}


def backend_named(name: str) -> Backend:
    """Raises Trouble for one that a record names and this version does not know."""
    if name not in BACKENDS:
        raise Trouble(
            f"job.json: backend {name!r} is not known to this bundle",
            f"known: {', '.join(BACKENDS)}; use a newer bundle",
        )
    return BACKENDS[name]
