"""The schedulers by name, as site profiles and ``job.json`` name them."""

from __future__ import annotations

from typing import Dict

from jobtemplates.backend import Backend
from jobtemplates.gridengine import GridEngine
from jobtemplates.pbs import Pbs
from jobtemplates.slurm import Slurm

SCHEDULERS: Dict[str, Backend] = {"slurm": Slurm(), "gridengine": GridEngine(), "pbs": Pbs()}
